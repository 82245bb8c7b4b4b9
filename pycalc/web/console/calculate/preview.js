// What is known of an expression while it is typed: its size, or where it is wrong. Nothing is computed or recorded.

import { html, signal, useEffect, useSignal } from "../../vendor/preact.js";
import { duration, number, t, who } from "../app.js";
import { Problem, requestJson } from "../api.js";
import { lastDigits, requestOf } from "../calculation.js";
import { calculate, fault, isSame, state, withOptions } from "../pages/calculate.js";

const PAUSE_MS = 250; // between the last key and the request
const LONGEST = 10_000;
const WORTH_SAYING_SECONDS = 0.5;

/** Seconds after which the service stops a computation; 0 while that is not known. */
export const timeLimit = signal(0);

/** A number of digits in words: "477 billion digits". @param {number | string} digits */
export function roughly(digits) {
  const n = BigInt(digits);
  if (n < 1_000_000n) return t("digits", { n: Number(n) });
  const text = String(n);
  if (text.length > 15) return t("calculate.power-of-digits", { power: String(text.length - 1) });
  return t("calculate.some-digits", { amount: number(Number(n), { notation: "compact", compactDisplay: "long", maximumSignificantDigits: 3 }) });
}

/** The ends of a value that is too long, which are decimal, and its last digits. @param {{text: string, call?: {operation: string, input: Record<string, any>}}} props */
export function WaysOn({ text, call }) {
  const ends = () => call && calculate(new URLSearchParams({ operation: call.operation, ...call.input, view: "summary" }));
  return html`${call && html`<button type="button" class="quiet" onClick=${ends}>${t("calculate.show-ends")}</button>`}
    <button type="button" class="quiet" onClick=${() => calculate(lastDigits(withOptions(text), 100))}>${t("calculate.last-hundred")}</button>`;
}

/** @param {{found: any, text: string}} props */
function Size({ found, text }) {
  const { digits, exact, too_large: tooLarge, seconds, timeout, expression, call } = found;
  const late = seconds > timeout && !tooLarge;
  return html`<p class="row preview-row">
    ${expression.replaceAll(" ", "") !== text.replaceAll(" ", "") && expression.length < 200 && html`<code>${expression}</code>`}
    ${digits !== 0 && html`<span>${tooLarge ? t("calculate.too-long", { digits: roughly(digits) }) : t("calculate.at-most", { digits: roughly(digits) })}</span>`}
    ${!exact && html`<span class="chip warn">${t("result.rounded")}</span>`}
    ${late && html`<span>${t("calculate.too-slow", { limit: duration(timeout * 1000) })}</span>`}
    ${!late && !tooLarge && seconds > WORTH_SAYING_SECONDS && html`<span>${t("calculate.about", { time: duration(Number(seconds.toPrecision(1)) * 1000) })}</span>`}
    ${(tooLarge || late) && html`<${WaysOn} text=${text} call=${call} />`}</p>`;
}

/** @param {{problem: Problem, text: string}} props */
function Trouble({ problem, text }) {
  const members = withOptions(text);
  const irrational = problem.code === "domain-error" && /precision/.test(problem.detail);
  const round = () => {
    members.set("precision", "50");
    calculate(members);
  };
  return html`<p class="row preview-row"><span class=${problem.code === "result-too-large" ? "" : "field-error"}>${problem.errors[0]?.detail ?? problem.detail}</span>
    ${irrational && !members.has("base") && html`<button type="button" class="quiet" onClick=${round}>${t("calculate.round", { n: 50 })}</button>`}
    ${problem.code === "result-too-large" && html`<${WaysOn} text=${text} />`}</p>`;
}

/** @param {{text: string}} props */
export function Preview({ text }) {
  const found = useSignal(/** @type {any} */ (null));
  const expression = text.trim();
  const wanted = withOptions(text); // positions of errors are those in the text as it is typed
  useEffect(() => {
    found.value = null;
    if (fault.value && fault.value.text !== text) fault.value = null;
    if (expression === "" || !who.value || [...text].length > LONGEST) return undefined;
    const stop = new AbortController();
    const timer = setTimeout(async () => {
      try {
        found.value = await requestJson("/evaluate/preview", { method: "POST", json: requestOf(wanted).json, signal: stop.signal });
        timeLimit.value = found.value.timeout;
      } catch (error) {
        if (stop.signal.aborted || !(error instanceof Problem)) return;
        if (error.status !== 422) return; // a limit or a fault of the service is told when it matters
        found.value = error;
        const position = error.errors[0]?.position;
        if (position !== undefined && error.code !== "result-too-large") fault.value = { text, position };
      }
    }, PAUSE_MS);
    return () => { clearTimeout(timer); stop.abort(); };
  }, [String(wanted), who.value]);
  const told = isSame(state.value.wanted, withOptions(expression)) && (state.value.problem ?? state.value.result);
  const long = [...text].length > LONGEST;
  return html`<div id="preview" class="preview" aria-live="polite">
    ${long ? html`<p class="field-error">${t("calculate.too-many-characters", { n: LONGEST })}</p>`
      : told ? null
      : found.value instanceof Problem ? html`<${Trouble} problem=${found.value} text=${expression} />`
      : found.value && html`<${Size} found=${found.value} text=${expression} />`}</div>`;
}
