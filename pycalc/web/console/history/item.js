// One calculation of the history: its value, all that is recorded about it, and how to run it again.

import { html, useSignal } from "../../vendor/preact.js";
import { duration, number, t, useLater, when } from "../app.js";
import { Problem, readBody, request, requestJson } from "../api.js";
import { ask } from "../pages/calculate.js";
import { CopyButton, saveBlob } from "../parts/clipboard.js";
import { Digits, Ends, textOf } from "../parts/digits.js";
import { Drawer } from "../parts/dialog.js";
import { ErrorCard } from "../parts/error-card.js";
import { isAbbreviated, membersOf, notation } from "../parts/notation.js";
import { Result } from "../parts/result.js";

/**
 * @typedef {{id: string, operation: string, input: Record<string, any>, result: any, digits: number | string, exact: boolean,
 *   leading: string, trailing: string, sha256: string | null, cached: boolean, elapsed_ms: number, user: string, created_at: string}} Item
 */

/** The value's text: the recorded one, or computed again by the service; null where only a summary was asked for.
 * @param {Item} item @param {AbortSignal} [signal] @returns {Promise<string | null>} */
export async function valueOf(item, signal) {
  if (item.result !== null) return textOf(item.result);
  if (item.input.view === "summary") return null;
  return readBody(await request(`/calculations/${item.id}/digits`, { accept: "text/plain", signal, deadline: 60_000 }), "text");
}

/** @param {Item} item */
function again({ operation, input }) {
  if (operation === "evaluate") return requestJson("/evaluate", { method: "POST", json: input, deadline: 60_000 });
  const { mod, view, precision, base, ...operands } = input;
  const json = { operation, input: Object.fromEntries(Object.entries(operands).map(([name, value]) => [name, String(value)])), mod, view, precision, base };
  return requestJson("/calculations", { method: "POST", json, deadline: 60_000 });
}

/** @param {{item: Item, onClose: () => void}} props */
export function ItemDrawer({ item, onClose }) {
  const text = useSignal(item.result === null ? null : textOf(item.result));
  const problem = useSignal(/** @type {Problem | null} */ (null));
  const busy = useSignal(false);
  const repeated = useSignal(/** @type {any} */ (null));
  const during = async (/** @type {() => Promise<void>} */ work) => {
    busy.value = true;
    problem.value = null;
    try {
      await work();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      problem.value = error;
    } finally {
      busy.value = false;
    }
  };
  const load = () => during(async () => { text.value = await valueOf(item); });
  const repeat = () => during(async () => { repeated.value = await again(item); });
  const title = notation(item.operation, item.input, 400);
  const open = () => {
    onClose();
    ask(membersOf(item.operation, item.input));
  };
  const wanted = new URLSearchParams(item.operation === "evaluate" ? item.input : { operation: item.operation, ...item.input });
  const summary = item.input.view === "summary";
  const save = () => saveBlob(new Blob([text.value ?? ""], { type: "text/plain" }), `${item.id}.txt`);
  const facts = [
    ["history.when", when(item.created_at, { dateStyle: "full", timeStyle: "medium" })], ["history.digits", number(item.digits)],
    ["history.took", duration(item.elapsed_ms)], ["history.user", item.user], ["history.id", item.id], ["history.sha256", item.sha256],
  ];
  const long = item.result === null && text.value !== null;
  const viewer = useLater(() => import("../viewer/digit-viewer.js"), long);
  return html`<${Drawer} title=${t("history.one")} onClose=${onClose}>
    <p class="mono wide">${title}</p>
    ${long && viewer ? html`<${viewer.DigitViewer} id=${item.id} text=${text.value} name=${`${item.id}.txt`} />`
      : text.value !== null ? html`<${Digits} text=${text.value} />` : html`<${Ends} leading=${item.leading} trailing=${item.trailing} />`}
    <div class="row"><span class=${item.exact ? "chip" : "chip warn"}>${t(`result.${item.exact ? "exact" : item.operation === "iroot" ? "remainder" : "rounded"}`)}</span>
      ${item.cached && html`<span class="chip">${t("result.cached")}</span>`}<span class="spring"></span>
      ${text.value !== null ? html`<${CopyButton} text=${() => text.value ?? ""} /><button type="button" class="quiet" onClick=${save}>${t("app.download")}</button>`
        : !summary && html`<button type="button" class="quiet" disabled=${busy.value} onClick=${load}>${t("history.load")}</button>`}</div>
    ${problem.value && html`<${ErrorCard} problem=${problem.value} />`}
    <dl class="pairs">${facts.map(([key, value]) => value && html`<dt key=${key}>${t(String(key))}</dt><dd>${value}</dd>`)}</dl>
    ${isAbbreviated(item.input) ? html`<p class="hint">${t("history.abbreviated")}</p>` : html`<div class="row">
      <button type="button" class="primary" disabled=${busy.value} onClick=${repeat}>${t("history.again")}</button>
      <button type="button" class="quiet" onClick=${open}>${t("history.open")}</button></div>`}
    ${repeated.value && (repeated.value.leading === undefined ? html`<${Result} title=${title} wanted=${wanted} calculation=${repeated.value} />`
      : html`<${Ends} leading=${repeated.value.leading} trailing=${repeated.value.trailing} />`)}<//>`;
}
