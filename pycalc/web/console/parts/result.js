// A result, or the reason why there is none.

import { html } from "../../vendor/preact.js";
import { duration, t } from "../app.js";
import { CopyButton, saveBlob } from "./clipboard.js";
import { Digits, Ends, textOf } from "./digits.js";
import { ErrorCard } from "./error-card.js";

/** @param {{expression: string, calculation: any}} props */
export function Result({ expression, calculation }) {
  const { result, digits, exact, cached, elapsed_ms: elapsed } = calculation;
  const text = textOf(result);
  const name = `${expression.replace(/[^A-Za-z0-9.+-]+/g, "_").slice(0, 80)}.txt`;
  const save = () => saveBlob(new Blob([text], { type: "text/plain" }), name);
  const inexact = result?.root === undefined ? "rounded" : "remainder";
  return html`<section class="result" aria-labelledby="result-title">
    <h2 id="result-title" class="mono">${expression} =</h2>
    <div role="group" aria-label=${t("calculate.result-of", { expression })} tabindex="0" id="result"><${Digits} text=${text} /></div>
    <div class="row facts"><span>${t("digits", { n: digits })}</span>
      <span class=${exact ? "chip" : "chip warn"}>${t(`result.${exact ? "exact" : inexact}`)}</span>
      ${cached && html`<span class="chip">${t("result.cached")}</span>`}<span>${duration(elapsed)}</span>
      <span class="spring"></span><${CopyButton} text=${() => text} />
      <button type="button" class="quiet" onClick=${save}>${t("app.download")}</button></div></section>`;
}

/** @param {{problem: import("../api.js").Problem, onRetry: () => void}} props */
export function Refusal({ problem, onRetry }) {
  const { digits, limit, leading, trailing } = problem.members;
  if (problem.code !== "result-too-large" || digits === undefined) {
    const retry = problem.status === 0 || problem.status >= 429 ? onRetry : undefined;
    return html`<${ErrorCard} problem=${problem} onRetry=${retry} />`;
  }
  return html`<section class="result" aria-labelledby="too-large"><h2 id="too-large">${t("calculate.too-large")}</h2>
    ${leading && html`<${Ends} leading=${leading} trailing=${trailing} />`}
    <p>${t("calculate.too-large-limit", { digits: t("digits", { n: digits }), limit: t("digits", { n: limit }) })}</p></section>`;
}
