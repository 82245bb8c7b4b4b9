// Server-sent events over fetch, because EventSource cannot send an Authorization header.

import { Problem, request } from "../api.js";

const FIRST_DELAY_MS = 1_000;
const LONGEST_DELAY_MS = 30_000;
const SILENCE_MS = 90_000;
const LONGEST_EVENT = 1 << 20;

/** Cuts a text/event-stream into events (WHATWG HTML, section 9.2.6); feed it text in any pieces. */
export class EventParser {
  #rest = "";
  /** @type {string[]} */
  #data = [];
  #id = "";
  lastEventId = "";

  /** Forget an event that the end of a connection cut off; the next connection asks for it again. */
  restart() {
    this.#rest = "";
    this.#data = [];
    this.#id = this.lastEventId;
  }

  /** The data of the events that `text` completes. @param {string} text @returns {string[]} */
  feed(text) {
    // A carriage return at the very end may be half of a CRLF: it waits for the next piece.
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? "";
    if (this.#rest.length > LONGEST_EVENT) throw new Error("an event is too long");
    return lines.flatMap((line) => this.#take(line));
  }

  /** @param {string} line @returns {string[]} */
  #take(line) {
    if (line === "") return this.#dispatch();
    const [, name = "", value = ""] = /^([^:]*):? ?(.*)$/.exec(line) ?? [];
    if (name === "data") this.#data.push(value);
    else if (name === "id" && !value.includes("\0")) this.#id = value;
    return [];
  }

  #dispatch() {
    this.lastEventId = this.#id;
    const events = this.#data.length > 0 ? [this.#data.join("\n")] : [];
    this.#data = [];
    return events;
  }
}

/** @param {number} ms @param {AbortSignal} signal */
function pause(ms, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      window.removeEventListener("online", done);
      signal.removeEventListener("abort", done);
      resolve(undefined);
    };
    const timer = setTimeout(done, ms);
    window.addEventListener("online", done);
    signal.addEventListener("abort", done);
  });
}

/** @param {string} path @param {EventParser} parser @param {(data: string) => void} onEvent @param {() => void} onOpen @param {AbortSignal} signal */
async function readOnce(path, parser, onEvent, onOpen, signal) {
  const connection = new AbortController();
  const abort = () => connection.abort();
  let watchdog = setTimeout(abort, SILENCE_MS); // the service sends a comment every few seconds
  try {
    /** @type {Record<string, string>} */
    const headers = parser.lastEventId ? { "Last-Event-ID": parser.lastEventId } : {};
    const both = AbortSignal.any([signal, connection.signal]);
    const answer = await request(path, { accept: "text/event-stream", headers, signal: both });
    onOpen();
    const reader = /** @type {ReadableStream} */ (answer.body).pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(watchdog);
      watchdog = setTimeout(abort, SILENCE_MS);
      parser.feed(value).forEach(onEvent);
    }
  } finally {
    clearTimeout(watchdog);
    connection.abort();
  }
}

/**
 * Follow the event stream at `path` until `signal` aborts or the credentials are refused. A lost connection is made again
 * with Last-Event-ID, after a growing, jittered delay.
 * @param {string} path
 * @param {{onEvent: (data: string) => void, onState: (state: "live" | "waiting" | "stopped") => void, signal: AbortSignal}} to
 */
export async function follow(path, { onEvent, onState, signal }) {
  const parser = new EventParser();
  let failures = 0;
  while (!signal.aborted) {
    let asked = null;
    parser.restart();
    try {
      await readOnce(path, parser, onEvent, () => { failures = 0; onState("live"); }, signal);
    } catch (error) {
      if (error instanceof Problem && [401, 403, 404].includes(error.status)) break;
      asked = error instanceof Problem && error.retryAfter !== null ? error.retryAfter * 1000 : null;
    }
    if (signal.aborted) break;
    onState("waiting");
    const ceiling = Math.min(FIRST_DELAY_MS * 2 ** failures, LONGEST_DELAY_MS);
    failures += 1;
    await pause(asked ?? ceiling * (0.5 + Math.random() / 2), signal);
  }
  onState("stopped");
}
