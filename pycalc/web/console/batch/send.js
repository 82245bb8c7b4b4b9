// Sending any number of calculations in parts, and writing their results as CSV.

import { Problem, keyField, newKey, requestJson } from "../api.js";
import { textOf } from "../parts/digits.js";

const MOST_ITEMS = 1_000; // in one request
const MOST_CHARACTERS = 400_000;
const MOST_WAITS = 60; // for one part
const DEADLINE_MS = 600_000;

/** @typedef {import("./parse.js").Row & {answer?: any, key?: string}} Answered
 *   `answer` is the calculation, or a problem; `key` is the idempotency key of the part that begins with the row */

/** The next part of the rows, from `start` on. @param {Answered[]} rows @param {number} start */
function partOf(rows, start) {
  let [end, size] = [start, 0];
  while (end < rows.length && end - start < MOST_ITEMS && (end === start || size + rows[end].text.length < MOST_CHARACTERS)) {
    size += rows[end].text.length + 60;
    end += 1;
  }
  return rows.slice(start, end);
}

/** @param {number} seconds @param {AbortSignal} signal */
function wait(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
  });
}

/**
 * Send the rows; each part's answers are put into its rows, then `told` is called. When the service asks to wait, that is
 * done. What was sent before an error or a cancellation stays.
 * @param {Answered[]} rows
 * @param {AbortSignal} signal
 * @param {{told: (done: number) => void, waiting: (seconds: number) => void}} progress
 */
export async function send(rows, signal, { told, waiting }) {
  for (let done = 0; done < rows.length;) {
    const part = partOf(rows, done);
    const json = { operations: part.map(({ item }) => item) };
    // The rows that have no answer make the same parts again, so that a part whose answer was lost is recorded once.
    part[0].key ??= newKey();
    const headers = keyField(part[0].key);
    for (let waits = 0; ; waits += 1) {
      try {
        const { results } = await requestJson("/batch", { method: "POST", json, headers, signal, deadline: DEADLINE_MS });
        part.forEach((row, index) => { row.answer = results[index]; });
        break;
      } catch (error) {
        if (!(error instanceof Problem) || error.retryAfter === null || waits >= MOST_WAITS) throw error;
        waiting(error.retryAfter);
        await wait(error.retryAfter, signal);
      }
    }
    done += part.length;
    told(done);
  }
}

/** Whether an answer is a calculation. @param {any} answer */
export const isDone = (answer) => answer?.id !== undefined;

/** The text of an answer's result. @param {any} answer */
export const resultOf = (answer) => (answer.result === undefined ? `${answer.leading}…${answer.trailing}` : textOf(answer.result));

/** @param {unknown} value */
function field(value) {
  const text = String(value ?? "");
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** The rows as CSV (RFC 4180), in parts, since one text might be too long. @param {Answered[]} rows */
export function csvOf(rows) {
  const lines = ["line,input,result,digits,exact,cached,elapsed_ms,error\r\n"];
  for (const { line, text, answer, error } of rows) {
    const done = isDone(answer);
    const values = done ? [resultOf(answer), answer.digits, answer.exact, answer.cached, answer.elapsed_ms] : ["", "", "", "", ""];
    lines.push(`${[line, text, ...values, done ? "" : error ?? answer?.detail].map(field).join(",")}\r\n`);
  }
  return lines;
}
