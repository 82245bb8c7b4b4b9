// The page Calculate: an expression or the form of an operation, and its exact value. The address holds what is asked for.

import { html, signal, useLayoutEffect, useRef, useSignal } from "../../vendor/preact.js";
import { address, navigate, t, useCommands, useLater, who } from "../app.js";

const EXAMPLES = ["2^256 - 1", "fibonacci(1000)", "100!", "3^(10^12) mod 10^20", "factorize(2^67 - 1)", "1/3 + 1/7"];
export const OPTIONS = ["precision", "base"]; // of an expression
const LONGEST_QUERY = 2_000; // a longer one is kept in the fragment, which no server has to read

/** The running calculation, kept outside so that it survives a visit to another page.
 * @type {import("../../vendor/preact.js").Signal<import("../calculation.js").State>} */
export const state = signal({ phase: "idle" });
/** Where the expression with this text is wrong. @type {import("../../vendor/preact.js").Signal<{text: string, position: number} | null>} */
export const fault = signal(null);
let stop = new AbortController();

/** Cancel the running calculation; the last result stays. */
export const cancel = () => stop.abort();

addEventListener("otheruser", () => {
  cancel();
  state.value = { phase: "idle" };
});

/** The members of the address: `expression`, or `operation` with its operands; and options. */
export function asked() {
  const { search, hash } = address.value;
  return new URLSearchParams(search || hash.slice(1));
}

/** The members for an expression with the options of the address. @param {string} expression */
export function withOptions(expression) {
  const now = asked();
  const options = OPTIONS.map((name) => [name, now.get(name) ?? ""]).filter(([, value]) => value !== "");
  return new URLSearchParams([["expression", expression], ...options]);
}

/** Whether two addresses ask for the same expression with the same options.
 * @param {URLSearchParams | undefined} one @param {URLSearchParams} other */
export const isSame = (one, other) => ["expression", ...OPTIONS].every((name) => (one?.get(name) ?? "") === (other.get(name) ?? ""));

/** Put what is asked for into the address. @param {URLSearchParams} wanted @param {{replace?: boolean}} [options] */
export function ask(wanted, options) {
  const text = String(wanted).replaceAll("+", "%20");
  navigate(`/${text.length <= LONGEST_QUERY ? "?" : "#"}${text}`, options);
}

/**
 * Calculate what the members ask for, after signing in where that is needed; returns the problem if there is one.
 * @param {URLSearchParams} wanted
 * @returns {Promise<import("../api.js").Problem | undefined>}
 */
export async function calculate(wanted) {
  ask(wanted);
  if (!who.value) {
    const { openSignIn } = await import("../parts/sign-in.js");
    if (who.value === null && !(await openSignIn())) return undefined;
  }
  const { run } = await import("../calculation.js");
  cancel();
  stop = new AbortController();
  return run(wanted, state, fault, stop.signal);
}

/** The expression again, unseen behind the field, with a mark where it is wrong. @param {{text: string}} props */
function Marks({ text }) {
  if (fault.value?.text !== text) return null;
  const letters = [...text, " "]; // the service counts code points; an error may be at the end
  const at = Math.min(fault.value.position, letters.length - 1);
  return html`<div class="marks" aria-hidden="true">${letters.slice(0, at).join("")}<mark>${letters[at]}</mark>${letters.slice(at + 1).join("")}</div>`;
}

/** @param {{text: import("../../vendor/preact.js").Signal<string>, submit: (event?: Event) => void}} props */
function ExpressionLine({ text, submit }) {
  const field = useRef(/** @type {HTMLTextAreaElement | null} */ (null));
  useLayoutEffect(() => {
    field.current?.focus({ preventScroll: true });
    performance.mark("usable");
  }, []);
  const onKey = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Enter" && !event.shiftKey) submit(event);
    else if (event.key === "Escape") cancel();
  };
  const wrong = fault.value?.text === text.value;
  return html`<form class="expression" onSubmit=${submit}>
    <label class="offscreen" for="expression">${t("calculate.expression")}</label>
    <div class="expression-field"><${Marks} text=${text.value} />
      <textarea id="expression" ref=${field} rows="1" data-slash autocomplete="off" autocapitalize="off" spellcheck=${false}
        placeholder=${t("calculate.placeholder")} value=${text.value} onKeyDown=${onKey}
        aria-invalid=${wrong ? "true" : undefined} aria-describedby="preview"
        onScroll=${(/** @type {any} */ event) => { const { previousElementSibling: marks, scrollTop } = event.currentTarget; if (marks) marks.scrollTop = scrollTop; }}
        onInput=${(/** @type {any} */ event) => { text.value = event.currentTarget.value; }}></textarea></div>
    <button type="submit" class="primary">${t("calculate.action")}</button></form>`;
}

export default function Calculate() {
  const wanted = asked();
  const operation = wanted.get("operation");
  const given = wanted.get("expression") ?? "";
  const text = useSignal(given);
  const extras = useLater(() => import("../calculate/extras.js"));
  const { result, problem } = state.value;
  const outcome = useLater(() => import("../calculate/outcome.js"), Boolean(result ?? problem));
  useLayoutEffect(() => { text.value = given; }, [given]); // before anything can be typed
  const submit = (/** @type {Event | undefined} */ event = undefined) => {
    event?.preventDefault();
    const expression = text.value.trim();
    text.value = expression;
    const field = document.getElementById("expression");
    if (expression === "") {
      field?.focus();
      return;
    }
    calculate(withOptions(expression));
  };
  useCommands(() => EXAMPLES.map((example) => ({ id: example, title: `${t("calculate.action")}: ${example}`, run: () => {
    text.value = example;
    calculate(new URLSearchParams({ expression: example }));
  } })));
  const pick = (/** @type {string} */ example) => { text.value = example; document.getElementById("expression")?.focus(); };
  return html`<div class=${result || problem || operation ? "calculate" : "calculate hero"}>
    <h1 tabindex="-1">${t("calculate.lead")}</h1>
    <p class="lead">${t("calculate.hint")}</p>
    ${extras && html`<${extras.Operations} chosen=${operation} />`}
    ${operation
      ? extras && html`<${extras.OperationForm} key=${operation} name=${operation} />`
      : html`<${ExpressionLine} text=${text} submit=${submit} />
        ${extras && html`<${extras.Preview} text=${text.value} />`}
        <ul class="chips" aria-label=${t("calculate.examples")}>${EXAMPLES.map((example) => html`
          <li key=${example}><button type="button" class="chip mono" onClick=${() => pick(example)}>${example}</button></li>`)}</ul>
        ${extras && html`<${extras.Options} submit=${submit} />`}`}
    ${extras && html`<${extras.Progress} />`}
    ${outcome && html`<${outcome.Outcome} />`}</div>`;
}
