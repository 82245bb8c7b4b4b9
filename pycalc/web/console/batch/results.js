// The results of a batch: a table in pages, as CSV, and a plot of the time against the number of digits.

import { html, useSignal } from "../../vendor/preact.js";
import { duration, number, t } from "../app.js";
import { saveBlob } from "../parts/clipboard.js";
import { Scatter } from "../parts/scatter.js";
import { Table } from "../parts/table.js";
import { csvOf, isDone, resultOf } from "./send.js";

const PAGE = 50;
const SHOWN = 60;

/** A long text by its ends. @param {string} text */
const shortened = (text) => (text.length <= SHOWN ? text : `${text.slice(0, SHOWN / 2)}…${text.slice(-SHOWN / 2)}`);

/** @param {import("./send.js").Answered} row */
function outcome({ answer, error }) {
  if (isDone(answer)) return html`<span class="mono">${shortened(resultOf(answer))}</span>`;
  const detail = error ?? answer?.errors?.[0]?.detail ?? answer?.detail;
  return detail ? html`<span class="field-error">${detail}</span>` : html`<span class="hint">${t("batch.waiting")}</span>`;
}

/** @param {{rows: import("./send.js").Answered[], version: number}} props `version` changes with the answers in the rows */
export function Results({ rows, version }) {
  const page = useSignal(0);
  const pages = Math.max(1, Math.ceil(rows.length / PAGE));
  const at = Math.min(page.value, pages - 1);
  const done = rows.filter(({ answer }) => isDone(answer));
  const columns = [
    { key: "line", label: t("batch.line"), number: true, cell: (/** @type {any} */ { line }) => number(line) },
    { key: "input", label: t("batch.input"), cell: (/** @type {any} */ { text }) => html`<span class="mono">${shortened(text)}</span>` },
    { key: "result", label: t("batch.result"), cell: outcome },
    { key: "digits", label: t("batch.digits"), number: true, cell: (/** @type {any} */ { answer }) => (!isDone(answer) ? "" : answer.digits ? number(answer.digits) : "–") },
    { key: "time", label: t("batch.time"), number: true, cell: (/** @type {any} */ { answer }) => (isDone(answer) ? duration(answer.elapsed_ms) : "") },
    { key: "kind", label: t("batch.kind"), hidden: true, cell: (/** @type {any} */ { answer }) => isDone(answer) && html`
      ${!answer.exact && html`<span class="chip warn">${t(`result.${answer.result?.root === undefined ? "rounded" : "remainder"}`)}</span>`}${answer.cached && html`<span class="chip">${t("result.cached")}</span>`}` },
  ];
  const points = done.filter(({ answer }) => Number(answer.digits) > 0 && answer.elapsed_ms > 0 && !answer.cached)
    .map(({ answer }) => /** @type {[number, number]} */ ([Number(answer.digits), answer.elapsed_ms]));
  const save = () => saveBlob(new Blob(csvOf(rows), { type: "text/csv" }), "pycalc-batch.csv");
  return html`<section class="batch-results" aria-labelledby="batch-results" data-version=${version}>
    <div class="row"><h2 id="batch-results">${t("batch.results")}</h2>
      <span class="hint">${t("batch.summary", { n: rows.length, done: done.length, wrong: rows.filter(({ answer, error }) => error || (answer && !isDone(answer))).length })}</span>
      <span class="spring"></span>${done.length > 0 && html`<button type="button" class="quiet" onClick=${save}>${t("batch.csv")}</button>`}</div>
    <${Table} label=${t("batch.results")} columns=${columns} rows=${rows.slice(at * PAGE, (at + 1) * PAGE)}
      id=${(/** @type {any} */ { line }) => String(line)} empty=${t("batch.nothing")} />
    ${pages > 1 && html`<div class="row"><button type="button" class="quiet" aria-disabled=${at === 0}
        onClick=${() => { page.value = Math.max(0, at - 1); }}>${t("batch.previous")}</button>
      <span class="hint" role="status">${t("batch.page", { n: at + 1, of: pages })}</span>
      <button type="button" class="quiet" aria-disabled=${at === pages - 1}
        onClick=${() => { page.value = Math.min(pages - 1, at + 1); }}>${t("batch.next")}</button></div>`}
    ${points.length > 1 && html`<${Scatter} label=${t("batch.plot")} x=${t("batch.digits")} y=${t("batch.milliseconds")} points=${points} />`}
  </section>`;
}
