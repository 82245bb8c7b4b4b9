// A result: its digits, what is known about them, and what can be done with them.

import { html, useSignal } from "../../vendor/preact.js";
import { duration, t, useLater } from "../app.js";
import { codesOf } from "../calculate/codes.js";
import { requestOf } from "../calculation.js";
import { CopyButton, saveBlob } from "./clipboard.js";
import { CodeTabs } from "./code-tabs.js";
import { Digits, Ends, textOf } from "./digits.js";

const WORTH_VIEWING = 100; // digits

/** A file name for a result. @param {string} title */
export const fileName = (title) => `${title.replace(/[^A-Za-z0-9.+-]+/g, "_").replace(/^_|_$/g, "").slice(0, 80)}.txt`;

/** @param {import("../calculation.js").Result} props */
export function Result({ title, wanted, calculation }) {
  const { result, digits, exact, cached, elapsed_ms: elapsed, leading, trailing } = calculation;
  const viewing = useSignal(false);
  const viewer = useLater(() => import("../viewer/digit-viewer.js"), viewing.value);
  const summary = result === undefined;
  const text = summary ? `${leading}…${trailing}` : textOf(result);
  const save = () => saveBlob(new Blob([text], { type: "text/plain" }), fileName(title));
  const inexact = result?.root === undefined ? "rounded" : "remainder";
  const long = !summary && text.length > WORTH_VIEWING && /^-?[\d.]+$/.test(text);
  return html`<section class="result" aria-labelledby="result-title">
    <h2 id="result-title" class="mono">${title} =</h2>
    <div role="group" aria-label=${t("calculate.result-of", { expression: title })} tabindex="0" id="result">
      ${summary ? html`<${Ends} leading=${leading} trailing=${trailing} />` : html`<${Digits} text=${text} />`}</div>
    <div class="row facts">${digits !== 0 && html`<span>${t("digits", { n: digits })}</span>`}
      <span class=${exact ? "chip" : "chip warn"}>${t(`result.${exact ? "exact" : inexact}`)}</span>
      ${cached && html`<span class="chip">${t("result.cached")}</span>`}<span>${duration(elapsed)}</span>
      <span class="spring"></span>
      ${long && html`<button type="button" class="quiet" aria-expanded=${viewing.value}
        onClick=${() => { viewing.value = !viewing.value; }}>${t("viewer.open")}</button>`}
      ${!summary && html`<${CopyButton} text=${() => text} />
        <button type="button" class="quiet" onClick=${save}>${t("app.download")}</button>`}</div>
    ${viewing.value && viewer && html`<${viewer.DigitViewer} id=${calculation.id} text=${text} name=${fileName(title)} />`}
    <details><summary>${t("result.code")}</summary>
      <${CodeTabs} label=${t("result.code")} codes=${codesOf(location.origin, requestOf(wanted))} /></details></section>`;
}
