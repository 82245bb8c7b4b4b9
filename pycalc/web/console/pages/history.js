// The page History: what was calculated, newest first, with filters in the address.

import { html, useSignal } from "../../vendor/preact.js";
import { number, t, when, who } from "../app.js";
import { textOf } from "../parts/digits.js";
import { selection } from "../parts/filters.js";
import { More, usePages } from "../parts/pages.js";
import { notation } from "../parts/notation.js";
import { Table } from "../parts/table.js";
import { Comparison } from "../history/compare.js";
import { Export } from "../parts/export.js";
import { Filters, NAMES } from "../history/filters.js";
import { ItemDrawer } from "../history/item.js";
import { Live } from "../history/live.js";

export const access = "user";

const PAGE = 50;
const END_SHOWN = 10;

/** @typedef {import("../history/item.js").Item} Item */

/** The whole of a short value, the two ends of a long one. @param {Item} item */
function brief({ result, leading, trailing }) {
  const text = result === null ? null : textOf(result);
  if (text !== null && text.length <= 2 * END_SHOWN + 4) return text;
  return `${(text ?? leading).slice(0, END_SHOWN)}…${(text ?? trailing).slice(-END_SHOWN)}`;
}

export default function History() {
  const chosen = selection(NAMES);
  const path = `/secure-history?limit=${PAGE}${chosen.size > 0 ? `&${chosen}` : ""}`;
  /** @type {import("../parts/pages.js").Pages<Item>} */
  const pages = usePages(path);
  const open = useSignal(/** @type {Item | null} */ (null));
  const marked = useSignal(/** @type {Item[]} */ ([]));
  const comparing = useSignal(false);
  const admin = who.value?.role === "admin";
  const wanted = (/** @type {Item} */ { operation, user }) => !chosen.has("until")
    && (!chosen.has("operation") || chosen.get("operation") === operation) && (!chosen.has("user") || chosen.get("user") === user);
  const mark = (/** @type {Item} */ item) => {
    const others = marked.value.filter(({ id }) => id !== item.id);
    marked.value = others.length < marked.value.length ? others : [...others, item].slice(-2);
  };
  const columns = [
    { key: "mark", label: t("history.mark"), hidden: true, cell: (/** @type {Item} */ item) => html`<label class="check"><input type="checkbox"
      aria-label=${`${t("history.mark")}: ${notation(item.operation, item.input)}`} checked=${marked.value.some(({ id }) => id === item.id)}
      onChange=${() => mark(item)} /></label>` },
    { key: "calculation", label: t("history.calculation"), cell: (/** @type {Item} */ item) => html`<button type="button" class="link mono"
      onClick=${() => { open.value = item; }}>${notation(item.operation, item.input, 40)}</button>` },
    { key: "value", label: t("history.value"), cell: (/** @type {Item} */ item) => html`<span class="mono">${brief(item)}</span>` },
    { key: "digits", label: t("history.digits"), number: true, cell: (/** @type {Item} */ { digits }) => (digits ? number(digits) : "–") },
    ...(admin ? [{ key: "user", label: t("history.user"), cell: (/** @type {Item} */ { user }) => user }] : []),
    { key: "when", label: t("history.when"), cell: (/** @type {Item} */ { created_at: at }) => html`<time datetime=${at}>${when(at)}</time>` },
  ];
  return html`<div class="row"><h1 tabindex="-1">${t("history.title")}</h1><span class="spring"></span>
      <${Live} wanted=${wanted} origin=${path} onShow=${pages.reload} /></div>
    <p class="lead">${t(admin ? "history.lead-admin" : "history.lead")}</p>
    <${Filters} />
    <div class="row"><button type="button" class="quiet" disabled=${marked.value.length < 2} onClick=${() => { comparing.value = true; }}>${t("history.compare")}</button>
      <span class="hint">${marked.value.length < 2 && t("history.compare-hint")}</span><span class="spring"></span>
      <${Export} path=${`/secure-history${chosen.size > 0 ? `?${chosen}` : ""}`} /></div>
    <${More} pages=${pages}>${(/** @type {Item[] | null} */ rows) => html`<${Table} label=${t("history.title")} columns=${columns} rows=${rows}
      id=${(/** @type {Item} */ { id }) => id} empty=${t(chosen.size > 0 ? "history.none-chosen" : "history.none")} />`}<//>
    ${open.value && html`<${ItemDrawer} key=${open.value.id} item=${open.value} onClose=${() => { open.value = null; }} />`}
    ${comparing.value && html`<${Comparison} pair=${marked.value} onClose=${() => { comparing.value = false; }} />`}`;
}
