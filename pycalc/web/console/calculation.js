// Running a calculation: its phases, and the last result, which stays until there is another.

import { announce, t } from "./app.js";
import { Problem, request } from "./api.js";
import { toast } from "./parts/toast.js";

const DEADLINE_MS = 60_000; // the service's own deadline is shorter; this one is for a service that is gone

/** @typedef {{phase: "idle" | "computing" | "receiving", expression?: string, started?: number, done?: number, total?: number,
 *   result?: {expression: string, calculation: any}, problem?: Problem}} State */

/** The whole body as text, its progress told in bytes. @param {Response} answer @param {(done: number) => void} told */
async function textOf(answer, told) {
  if (!answer.body) return answer.text();
  let done = 0;
  const count = new TransformStream({ transform(part, out) {
    done += part.byteLength;
    told(done);
    out.enqueue(part);
  } });
  return new Response(answer.body.pipeThrough(count)).text();
}

/**
 * Evaluate an expression. `state` follows the phases; a cancelled or refused calculation keeps the last result.
 * @param {string} expression
 * @param {import("../vendor/preact.js").Signal<State>} state
 * @param {AbortSignal} signal
 */
export async function run(expression, state, signal) {
  const { result } = state.value;
  state.value = { phase: "computing", expression, started: performance.now(), result };
  try {
    const answer = await request("/evaluate", { method: "POST", json: { expression }, signal, deadline: DEADLINE_MS });
    const encoded = answer.headers.has("Content-Encoding"); // then the length is not that of the text
    const total = encoded ? 0 : Number(answer.headers.get("Content-Length"));
    state.value = { ...state.value, phase: "receiving", total };
    const text = await textOf(answer, (done) => { state.value = { ...state.value, done }; });
    const calculation = JSON.parse(text);
    state.value = { phase: "idle", expression, result: { expression, calculation } };
    announce(t("calculate.announced", { expression, digits: t("digits", { n: calculation.digits }) }));
  } catch (error) {
    if (signal.aborted) {
      if (state.value.expression === expression) state.value = { phase: "idle", expression, result };
      announce(t("calculate.cancelled"));
      if (result) toast(t("calculate.cancelled"));
      return;
    }
    const problem = error instanceof Problem ? error : new Problem(0, { code: "unusable" });
    state.value = { phase: "idle", expression, result, problem };
  }
}
