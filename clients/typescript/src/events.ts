import { type HistoryItem, historyItemOf } from "./results.js";
import { type RetryPolicy, Retries } from "./retries.js";
import type { components } from "./schema.js";
import type { Transport } from "./transport.js";

/** A calculation that was recorded; with its `id` as `lastEventId` the events go on behind it. */
export interface CalculationEvent { id: string; type: string; calculation: HistoryItem }

const SILENCE_SECONDS = 40; // the service sends something every 15 s

/** Yield events as they come; after a cut connection go on behind the last one. */
export async function* eventsOf(
  transport: Transport, policy: RetryPolicy, lastEventId?: string, signal?: AbortSignal,
): AsyncGenerator<CalculationEvent, void, void> {
  for await (const text of resumed(transport, policy, lastEventId, signal)) {
    const { id, type, data } = JSON.parse(text) as { id: string; type: string; data: components["schemas"]["HistoryItem"] };
    yield { id, type, calculation: historyItemOf(data) };
  }
}

/** Yield the data of each event, from one stream after another. */
async function* resumed(
  transport: Transport, policy: RetryPolicy, lastEventId: string | undefined, signal: AbortSignal | undefined,
): AsyncGenerator<string, void, void> {
  const retries = new Retries(policy, signal);
  for (;;) {
    let failure: unknown = new TypeError("The event stream ended");
    let opened = false;
    try {
      for await (const { id, data } of messagesOf(transport, lastEventId, signal)) {
        // The block that opens a stream is no progress; heartbeats are.
        if (opened || data) retries.progressed();
        opened = true;
        lastEventId = id ?? lastEventId;
        if (data) yield data;
      }
    } catch (error) {
      failure = error;
    }
    await retries.wait(failure);
  }
}

/** Yield the blocks of one event stream (WHATWG HTML, section 9.2.6), those without data too, such as heartbeats. */
async function* messagesOf(
  transport: Transport, lastEventId: string | undefined, signal: AbortSignal | undefined,
): AsyncGenerator<{ id: string | undefined; data: string }, void, void> {
  const silence = new AbortController();
  const giveUp = (): void => silence.abort(new TypeError("The event stream is silent"));
  let timer = setTimeout(giveUp, SILENCE_SECONDS * 1000);
  const headers: Record<string, string> = { Accept: "text/event-stream" };
  if (lastEventId !== undefined) headers["Last-Event-ID"] = lastEventId;
  try {
    const signals = signal ? [signal, silence.signal] : [silence.signal];
    const response = await transport.send("/events", { headers, signal: AbortSignal.any(signals) });
    const decoder = new TextDecoder();
    const reader = response.body!.getReader();
    let rest = "";
    let id: string | undefined;
    let data: string[] = [];
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
      rest = lines.pop()!;
      for (const line of lines.map((text) => text.replace(/\r$/, ""))) {
        if (line === "") {
          yield { id, data: data.join("\n") };
          [id, data] = [undefined, []];
        } else if (line.startsWith("id:")) {
          id = line.slice(3).trimStart();
        } else if (line.startsWith("data:")) {
          data.push(line.slice(5).trimStart());
        }
      }
      timer = setTimeout(giveUp, SILENCE_SECONDS * 1000);
    }
  } finally {
    clearTimeout(timer);
    silence.abort(); // ends the stream where the caller has seen enough
  }
}
