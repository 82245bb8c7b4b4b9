// The page History: what was calculated, newest first, with filters in the address.

import { html, useEffect, useSignal } from "../../vendor/preact.js";
import { announce, number, t, when, who } from "../app.js";
import { Problem, requestJson } from "../api.js";
import { textOf } from "../parts/digits.js";
import { ErrorCard } from "../parts/error-card.js";
import { notation } from "../parts/notation.js";
import { Table } from "../parts/table.js";
import { Comparison } from "../history/compare.js";
import { Export } from "../history/export.js";
import { Filters, selection } from "../history/filters.js";
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

/** The rows read so far, and the cursor of the next ones. @param {string} path */
function useHistory(path) {
  const rows = useSignal(/** @type {Item[] | null} */ (null));
  const next = useSignal(/** @type {string | null} */ (null));
  const problem = useSignal(/** @type {Problem | null} */ (null));
  const read = async (/** @type {string | null} */ cursor, /** @type {AbortSignal | undefined} */ signal = undefined) => {
    problem.value = null;
    try {
      const page = await requestJson(cursor ? `${path}&cursor=${encodeURIComponent(cursor)}` : path, { signal });
      rows.value = cursor ? [...(rows.peek() ?? []), ...page.items] : page.items;
      next.value = page.next_cursor;
    } catch (error) {
      if (error instanceof Problem) problem.value = error;
      else if (!signal?.aborted) throw error;
    }
  };
  useEffect(() => {
    rows.value = null;
    const stop = new AbortController();
    read(null, stop.signal);
    return () => stop.abort();
  }, [path]);
  return { rows, next, problem, read };
}

export default function History() {
  const chosen = selection();
  const path = `/secure-history?limit=${PAGE}${chosen.size > 0 ? `&${chosen}` : ""}`;
  const { rows, next, problem, read } = useHistory(path);
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
  const older = async () => {
    const before = rows.value?.length ?? 0;
    await read(next.value);
    announce(t("history.more-read", { n: (rows.value?.length ?? 0) - before }));
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
      <${Live} wanted=${wanted} origin=${path} onShow=${() => read(null)} /></div>
    <p class="lead">${t(admin ? "history.lead-admin" : "history.lead")}</p>
    <${Filters} />
    <div class="row"><button type="button" class="quiet" disabled=${marked.value.length < 2} onClick=${() => { comparing.value = true; }}>${t("history.compare")}</button>
      <span class="hint">${marked.value.length < 2 && t("history.compare-hint")}</span><span class="spring"></span>
      <${Export} path=${`/secure-history${chosen.size > 0 ? `?${chosen}` : ""}`} /></div>
    ${problem.value && html`<${ErrorCard} problem=${problem.value} onRetry=${() => read(null)} />`}
    ${!(problem.value && rows.value === null) && html`<${Table} label=${t("history.title")} columns=${columns} rows=${rows.value}
      id=${(/** @type {Item} */ { id }) => id} empty=${t(chosen.size > 0 ? "history.none-chosen" : "history.none")} />`}
    ${next.value && html`<button type="button" class="quiet" onClick=${older}>${t("history.older")}</button>`}
    ${open.value && html`<${ItemDrawer} key=${open.value.id} item=${open.value} onClose=${() => { open.value = null; }} />`}
    ${comparing.value && html`<${Comparison} pair=${marked.value} onClose=${() => { comparing.value = false; }} />`}`;
}
