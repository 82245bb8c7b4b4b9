// Running a calculation: its phases, and the last result, which stays until there is another.

import { announce, t } from "./app.js";
import { Problem, keyField, newKey, readBody, request } from "./api.js";
import { textOf as writtenOf } from "./parts/digits.js";
import { optionsOf } from "./parts/notation.js";
import { toast } from "./parts/toast.js";

const DEADLINE_MS = 60_000; // the service's own deadline is shorter; this one is for a service that is gone
const SAID_AFTER_MS = 1_000; // what takes less is not announced before its result
const OPTIONS = ["mod", "view", "precision", "base"];

/** @typedef {{title: string, wanted: URLSearchParams, calculation: any}} Result */
/** @typedef {{phase: "idle" | "computing" | "receiving", title?: string, wanted?: URLSearchParams, started?: number, done?: number,
 *   total?: number, result?: Result, problem?: Problem, key?: string}} State `key` is the idempotency key of a failed request */

/**
 * The request that the members of an address stand for, and a title for its result.
 * @param {URLSearchParams} wanted
 * @returns {{path: string, json: Record<string, any>, title: string}}
 */
export function requestOf(wanted) {
  const given = [...wanted].filter(([, value]) => value !== "");
  const options = Object.fromEntries(given.filter(([name]) => OPTIONS.includes(name)));
  const title = (/** @type {string} */ text) => [text, optionsOf(options)].filter(Boolean).join(" ");
  const expression = wanted.get("expression");
  if (expression !== null) {
    // What is no number is sent as it is, so that the service refuses it.
    const numbers = Object.entries(options).map(([name, value]) => [name, Number.isNaN(Number(value)) ? value : Number(value)]);
    return { path: "/evaluate", json: { expression, ...Object.fromEntries(numbers) }, title: title(expression) };
  }
  const operation = wanted.get("operation") ?? "";
  const input = Object.fromEntries(given.filter(([name]) => name !== "operation" && !OPTIONS.includes(name)));
  const operands = Object.values(input).map((value) => (value.length <= 60 ? value : `${value.slice(0, 25)}…${value.slice(-25)}`));
  const call = `${operation}(${operands.join(", ")})${options.mod ? ` mod ${options.mod}` : ""}`;
  return { path: "/calculations", json: { operation, input, ...options }, title: title(call) };
}

/**
 * The members for the last digits of a value, in the base in which its members ask for it.
 * @param {URLSearchParams} wanted @param {number} count
 */
export function lastDigits(wanted, count) {
  const members = new URLSearchParams(wanted);
  const base = Number(wanted.get("base")) || 10;
  const expression = wanted.get("expression");
  if (expression !== null) members.set("expression", `(${expression}) mod ${base}^${count}`);
  else {
    members.set("mod", base === 10 ? `1e${count}` : String(BigInt(base) ** BigInt(count)));
    members.delete("view");
  }
  return members;
}

/**
 * The whole body as text, its progress told in bytes. Throws Problem if the connection breaks.
 * @param {Response} answer @param {(done: number) => void} told
 */
export async function textOf(answer, told) {
  let done = 0;
  const count = new TransformStream({ transform(part, out) {
    done += part.byteLength;
    told(done);
    out.enqueue(part);
  } });
  return readBody(answer.body ? new Response(answer.body.pipeThrough(count)) : answer, "text");
}

/** The length of an answer's body in bytes, 0 where it is not known. @param {Response} answer */
export const lengthOf = (answer) => (answer.headers.has("Content-Encoding") ? 0 : Number(answer.headers.get("Content-Length")));

/**
 * Calculate. `state` follows the phases; a cancelled or refused calculation keeps the last result.
 * @param {URLSearchParams} wanted those of `state` for another try, which records nothing twice
 * @param {import("../vendor/preact.js").Signal<State>} state
 * @param {import("../vendor/preact.js").Signal<{text: string, position: number} | null>} fault where an expression is wrong
 * @param {AbortSignal} signal
 * @returns {Promise<Problem | undefined>}
 */
export async function run(wanted, state, fault, signal) {
  const { result } = state.value;
  const key = (state.value.wanted === wanted && state.value.key) || newKey();
  const { path, json, title } = requestOf(wanted);
  state.value = { phase: "computing", title, wanted, started: performance.now(), result };
  const saying = setTimeout(() => announce(t("calculate.started", { title })), SAID_AFTER_MS);
  try {
    const answer = await request(path, { method: "POST", json, headers: keyField(key), signal, deadline: DEADLINE_MS });
    state.value = { ...state.value, phase: "receiving", total: lengthOf(answer) };
    const text = await textOf(answer, (done) => { state.value = { ...state.value, done }; });
    const calculation = JSON.parse(text);
    state.value = { phase: "idle", title, wanted, result: { title, wanted, calculation } };
    const { digits, result: value } = calculation;
    announce(t("calculate.announced", { title, result: digits === 0 ? writtenOf(value) : t("digits", { n: digits }) }));
    return undefined;
  } catch (error) {
    if (signal.aborted) {
      if (state.value.wanted !== wanted) return undefined; // another one has begun, or another user has come
      state.value = { phase: "idle", title, wanted, result };
      announce(t("calculate.cancelled"));
      if (result) toast(t("calculate.cancelled"));
      return undefined;
    }
    const problem = error instanceof Problem ? error : new Problem(0, { code: "unusable" });
    const position = problem.errors.find((one) => one.position !== undefined)?.position;
    if (position !== undefined && problem.code !== "result-too-large") fault.value = { text: json.expression, position };
    state.value = { phase: "idle", title, wanted, result, problem, key };
    return problem;
  } finally {
    clearTimeout(saying);
  }
}
