// What the digits add up to: how often each occurs, and their SHA-256 beside the recorded one.

import { html } from "../../vendor/preact.js";
import { number, t } from "../app.js";
import { Table } from "../parts/table.js";

/** @param {{sha256: string | null, recorded: string | null | undefined}} props `recorded` is undefined while it is loaded */
export function Digest({ sha256, recorded }) {
  const known = recorded !== undefined;
  const state = !sha256 ? "cannot" : !recorded ? "unrecorded" : sha256 === recorded ? "same" : "different";
  return html`<p class="row"><span>SHA-256</span>${sha256 && html`<code class="digest">${sha256}</code>`}
    ${known && html`<span class=${state === "different" ? "chip warn" : "chip"}>${t(`viewer.digest-${state}`)}</span>`}</p>`;
}

/** @param {{counts: number[]}} props */
export function Histogram({ counts }) {
  const total = counts.reduce((sum, count) => sum + count, 0);
  const most = Math.max(...counts, 1);
  const rows = counts.map((count, digit) => ({ count, digit }));
  const share = (/** @type {number} */ count) => number(count / total, { style: "percent", maximumFractionDigits: 3 });
  const columns = [
    { key: "digit", label: t("viewer.digit"), cell: (/** @type {any} */ { digit }) => String(digit) },
    { key: "count", label: t("viewer.count"), number: true, cell: (/** @type {any} */ { count }) => number(count) },
    { key: "share", label: t("viewer.share"), number: true, cell: (/** @type {any} */ { count }) => share(count) },
    { key: "bar", label: t("viewer.bar"), hidden: true, cell: (/** @type {any} */ { count }) => html`
      <meter class="bar-meter" min="0" max=${most} value=${count} aria-label=${share(count)}></meter>` },
  ];
  return html`<${Table} label=${t("viewer.histogram")} columns=${columns} rows=${rows} id=${(/** @type {any} */ { digit }) => String(digit)} empty="" />`;
}
