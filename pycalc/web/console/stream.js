// Server-sent events over fetch: EventSource cannot send an Authorization header.

import { Problem, authorized } from "./http.js";

const FIRST_DELAY_MS = 1_000;
const LONGEST_DELAY_MS = 30_000;
const SILENCE_MS = 90_000;
const LONGEST_EVENT = 1 << 20;

/** Cuts a text/event-stream into events (WHATWG HTML, section 9.2.6); feed it text in any pieces. */
export class EventParser {
  #rest = "";
  #data = [];
  #type = "";
  #id = "";
  lastEventId = "";
  retryMs = null;

  /** Forgets an event that the end of a connection cut off; the next connection asks for it again. */
  restart() {
    this.#rest = "";
    this.#data = [];
    this.#type = "";
    this.#id = this.lastEventId;
  }

  /** The events completed by `text`, each `{type, data, id}`. */
  feed(text) {
    // A carriage return at the very end may be half of a CRLF: it waits for the next piece.
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    if (this.#rest.length > LONGEST_EVENT) throw new Error("an event is too long");
    return lines.map((line) => this.#take(line)).filter(Boolean);
  }

  #take(line) {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") this.#data.push(value);
    else if (name === "event") this.#type = value;
    else if (name === "id" && !value.includes("\0")) this.#id = value;
    else if (name === "retry" && /^\d+$/.test(value)) this.retryMs = Number(value);
    return null;
  }

  #dispatch() {
    this.lastEventId = this.#id;
    const event = { type: this.#type || "message", data: this.#data.join("\n"), id: this.lastEventId };
    const complete = this.#data.length > 0;
    this.#data = [];
    this.#type = "";
    return complete ? event : null;
  }
}

function pause(ms, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      window.removeEventListener("online", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    window.addEventListener("online", done);
    signal.addEventListener("abort", done);
  });
}

async function readOnce(path, parser, onEvent, onOpen, signal) {
  const connection = new AbortController();
  const abort = () => connection.abort();
  signal.addEventListener("abort", abort);
  let watchdog = setTimeout(abort, SILENCE_MS);
  try {
    const headers = parser.lastEventId ? { "Last-Event-ID": parser.lastEventId } : {};
    const answer = await authorized(path, { accept: "text/event-stream", headers, signal: connection.signal });
    onOpen();
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(watchdog);
      watchdog = setTimeout(abort, SILENCE_MS);
      parser.feed(value).forEach(onEvent);
    }
  } finally {
    clearTimeout(watchdog);
    signal.removeEventListener("abort", abort);
    connection.abort();
  }
}

/**
 * Follows the event stream at `path` until `signal` aborts or the credentials are refused.
 *
 * A lost connection is made again with Last-Event-ID, after a growing, jittered delay. `onState` hears "connecting",
 * "live", "waiting" and "stopped".
 */
export async function follow(path, { onEvent, onState, signal }) {
  const parser = new EventParser();
  let failures = 0;
  while (!signal.aborted) {
    let asked = null;
    parser.restart();
    onState("connecting");
    try {
      await readOnce(path, parser, onEvent, () => { failures = 0; onState("live"); }, signal);
    } catch (error) {
      if (error instanceof Problem && [401, 403, 404].includes(error.status)) break;
      asked = error instanceof Problem && error.retryAfter !== null ? error.retryAfter * 1000 : null;
    }
    if (signal.aborted) break;
    onState("waiting");
    const ceiling = Math.min((parser.retryMs ?? FIRST_DELAY_MS) * 2 ** failures, LONGEST_DELAY_MS);
    failures += 1;
    await pause(asked ?? ceiling * (0.5 + Math.random() / 2), signal);
  }
  onState("stopped");
}
