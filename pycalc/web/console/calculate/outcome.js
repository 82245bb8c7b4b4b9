// The last result, and the reason why there is no newer one.

import { html } from "../../vendor/preact.js";
import { asked, calculate, state } from "../pages/calculate.js";
import { ErrorCard } from "../parts/error-card.js";
import { Result } from "../parts/result.js";
import { optionErrors } from "./options.js";
import { TooLarge } from "./too-large.js";

/** @param {{problem: import("../api.js").Problem, wanted: URLSearchParams}} props */
function Refusal({ problem, wanted }) {
  if (problem.code === "result-too-large") return html`<${TooLarge} key=${String(wanted)} problem=${problem} wanted=${wanted} />`;
  const hasOptions = !asked().get("operation"); // beside the form of an operation there are none of an expression
  if (hasOptions && wanted.has("expression") && Object.keys(optionErrors(problem)).length > 0) return null; // it stands there
  const retry = problem.status === 0 || problem.status >= 429 || problem.retryAfter !== null ? () => calculate(wanted) : undefined;
  return html`<${ErrorCard} problem=${problem} onRetry=${retry} />`;
}

export function Outcome() {
  const { result, problem, wanted } = state.value;
  return html`${problem && wanted && html`<${Refusal} problem=${problem} wanted=${wanted} />`}
    ${result && html`<${Result} key=${result.calculation.id} ...${result} />`}`;
}
