// Short messages that stand at the edge of the page for a while.

import { html, signal } from "../../vendor/preact.js";
import { t } from "../app.js";

const SHOWN_MS = 6_000;

/** @typedef {{id: number, text: string, retry?: () => void, action?: string}} Toast */
const shown = signal(/** @type {Toast[]} */ ([]));
let last = 0;

const drop = (/** @type {number} */ id) => { shown.value = shown.value.filter((one) => one.id !== id); };

/**
 * Show a message; one with `retry` stays until it is answered. `action` is the text of its button.
 * @param {string} text
 * @param {{retry?: () => void, action?: string}} [options]
 */
export function toast(text, { retry, action } = {}) {
  last += 1;
  const id = last;
  shown.value = [...shown.value.filter((one) => one.text !== text), { id, text, retry, action }];
  if (!retry) setTimeout(() => drop(id), SHOWN_MS);
}

export function Toasts() {
  return html`<div class="toasts" role="status">${shown.value.map(({ id, text, retry, action }) => html`
    <div class="toast" key=${id}><span>${text}</span>
      ${retry && html`<button type="button" class="quiet" onClick=${() => { drop(id); retry(); }}>${action ?? t("app.again")}</button>`}
      <button type="button" class="quiet" aria-label=${t("app.close")} onClick=${() => drop(id)}>✕</button></div>`)}</div>`;
}
