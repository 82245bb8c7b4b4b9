// The page Calculate: one expression, its exact value. The address holds the expression.

import { html, signal, useEffect, useLayoutEffect, useRef, useSignal } from "../../vendor/preact.js";
import { duration, navigate, number, query, t, useCommands, who } from "../app.js";

const EXAMPLES = ["2^256 - 1", "fibonacci(1000)", "100!", "3^(10^12) mod 10^20", "factorize(2^67 - 1)", "1/3 + 1/7"];

/** The running calculation, kept outside so that it survives a visit to another page.
 * @type {import("../../vendor/preact.js").Signal<import("../calculation.js").State>} */
const state = signal({ phase: "idle" });
let cancel = () => {};

/** @param {string} expression */
async function calculate(expression) {
  const { run } = await import("../calculation.js");
  cancel();
  const stop = new AbortController();
  cancel = () => stop.abort();
  await run(expression, state, stop.signal);
}

/** What has been done so far, and a button to stop it. */
function Progress() {
  const now = useSignal(performance.now());
  const { phase, started = 0, done = 0, total = 0 } = state.value;
  const running = phase === "computing" || phase === "receiving";
  useEffect(() => {
    if (!running) return undefined;
    const timer = setInterval(() => { now.value = performance.now(); }, 100);
    return () => clearInterval(timer);
  }, [running]);
  if (!running) return null;
  const text = phase === "computing"
    ? t("calculate.computing", { time: duration(Math.max(0, now.value - started)) })
    : t("calculate.receiving", { done: size(done), total: size(total) });
  return html`<div class="progress"><progress max="1" value=${total > 0 ? done / total : undefined} aria-label=${t("app.loading")} />
    <span class="hint">${text}</span>
    <button type="button" class="quiet" onClick=${() => cancel()}>${t("app.cancel")}</button></div>`;
}

/** @param {number} bytes */
const size = (bytes) => number(bytes / 1e6, { style: "unit", unit: "megabyte", maximumFractionDigits: 1 });

/** Loads the part that shows results when there is one. */
function Outcome() {
  const part = useSignal(/** @type {any} */ (null));
  const { result, problem } = state.value;
  const needed = Boolean(result ?? problem);
  useEffect(() => {
    if (needed) import("../parts/result.js").then((module) => { part.value = module; });
  }, [needed]);
  if (!part.value) return null;
  return html`${problem && html`<${part.value.Refusal} problem=${problem} onRetry=${() => calculate(state.value.expression ?? "")} />`}
    ${result && html`<${part.value.Result} key=${result.calculation.id} ...${result} />`}`;
}

export default function Calculate() {
  const field = useRef(/** @type {HTMLTextAreaElement | null} */ (null));
  const given = query.value.get("expression") ?? "";
  const text = useSignal(given);
  useEffect(() => { text.value = given; }, [given]);
  useLayoutEffect(() => {
    field.current?.focus({ preventScroll: true });
    performance.mark("usable");
  }, []);
  const submit = async (/** @type {Event} */ event = new Event("submit")) => {
    event.preventDefault();
    const expression = text.value.trim();
    if (expression === "") {
      field.current?.focus();
      return;
    }
    navigate(`/?expression=${encodeURIComponent(expression)}`);
    if (!who.value) {
      const { openSignIn } = await import("../parts/sign-in.js");
      if (who.value === null && !(await openSignIn())) return;
    }
    await calculate(expression);
  };
  useCommands(() => EXAMPLES.map((example) => ({ id: example, title: `${t("calculate.action")}: ${example}`, run: () => {
    text.value = example;
    submit();
  } })));
  const onKey = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Enter" && !event.shiftKey) submit(event);
    else if (event.key === "Escape") cancel();
  };
  const pick = (/** @type {string} */ example) => { text.value = example; field.current?.focus(); };
  const idle = !state.value.result && !state.value.problem;
  return html`<div class=${idle ? "calculate hero" : "calculate"}>
    <h1 tabindex="-1">${t("calculate.lead")}</h1>
    <p class="lead">${t("calculate.hint")}</p>
    <form class="expression" onSubmit=${submit}>
      <label class="offscreen" for="expression">${t("calculate.expression")}</label>
      <textarea id="expression" ref=${field} rows="1" data-slash autocomplete="off" autocapitalize="off" spellcheck=${false}
        placeholder=${t("calculate.placeholder")} value=${text.value} onKeyDown=${onKey} maxlength="10000"
        onInput=${(/** @type {any} */ event) => { text.value = event.currentTarget.value; }}></textarea>
      <button type="submit" class="primary">${t("calculate.action")}</button>
    </form>
    <ul class="chips" aria-label=${t("calculate.examples")}>${EXAMPLES.map((example) => html`
      <li key=${example}><button type="button" class="chip mono" onClick=${() => pick(example)}>${example}</button></li>`)}</ul>
    <${Progress} /><${Outcome} /></div>`;
}
