// API keys: their list, their making, renewal and removal. A key's text is shown once.

import { html, useSignal } from "../../vendor/preact.js";
import { t, when } from "../app.js";
import { request, requestJson } from "../api.js";
import { CopyButton } from "../parts/clipboard.js";
import { Dialog, confirmed, openDialog } from "../parts/dialog.js";
import { Shown, attempt, useLoaded } from "../parts/loaded.js";
import { Table } from "../parts/table.js";
import { KeyForm } from "./key-form.js";

/**
 * @typedef {{id: string, name: string, prefix: string, created_at: string, expires_at: string | null, scopes: string[],
 *   allow_query: boolean, limits: Record<string, string | null>, last_used_at: string | null, last_used_from: string | null}} Key
 */

/** Show the text of a new key. @param {{name: string, text: string, close: () => void}} props */
function NewKey({ name, text, close }) {
  return html`<${Dialog} title=${t("keys.made", { name })} onClose=${close}>
    <p>${t("keys.once")}</p>
    <p class="secret"><code>${text}</code></p>
    <div class="row"><${CopyButton} text=${() => text} /><span class="spring"></span>
      <button type="button" class="primary" onClick=${close}>${t("keys.kept")}</button></div><//>`;
}

/** @param {{made: any}} made */
const showKey = ({ made }) => openDialog((close) => html`<${NewKey} name=${made.name} text=${made.key} close=${() => close()} />`);

/** @param {{close: (made?: any) => void}} props */
function Making({ close }) {
  const submit = async (/** @type {any} */ json) => close(await requestJson("/me/keys", { method: "POST", json }));
  return html`<${Dialog} title=${t("keys.new")} onClose=${() => close()}><${KeyForm} submit=${submit} /><//>`;
}

/** A new key with the abilities of another one, which is removed afterwards. @param {Key} key */
async function renew({ id, name, scopes, allow_query, limits, created_at, expires_at }) {
  const seconds = expires_at === null ? null : Math.max(60, Math.round((Date.parse(expires_at) - Date.parse(created_at)) / 1000));
  const json = { name, scopes, allow_query, limits, expires_in: seconds };
  const made = await requestJson("/me/keys", { method: "POST", json });
  await showKey({ made });
  await request(`/me/keys/${id}`, { method: "DELETE" });
}

/** @param {{row: Key}} props */
function Abilities({ row }) {
  return html`<div class="chips">${row.scopes.map((scope) => html`<span class="chip mono" key=${scope}>${scope}</span>`)}
    ${row.allow_query && html`<span class="chip warn">${t("keys.in-url")}</span>`}
    ${Object.entries(row.limits).map(([name, limit]) => limit && html`<span class="chip" key=${name}>${limit}</span>`)}</div>`;
}

export function Keys() {
  /** @type {import("../parts/loaded.js").Loaded<Key[]>} */
  const loaded = useLoaded("/me/keys");
  const busy = useSignal("");
  const during = async (/** @type {string} */ id, /** @type {() => Promise<unknown>} */ work) => {
    busy.value = id; // until the list no longer has a removed key, whose buttons would do nothing
    await attempt(work);
    await loaded.reload();
    busy.value = "";
  };
  const make = async () => {
    const made = await openDialog((close) => html`<${Making} close=${close} />`);
    if (!made) return;
    loaded.reload();
    await showKey({ made });
  };
  const roll = async (/** @type {Key} */ key) => {
    const sure = { title: t("keys.roll"), text: t("keys.roll-text", { name: key.name }), action: t("keys.roll") };
    if (await confirmed(sure)) await during(key.id, () => renew(key));
  };
  const remove = async (/** @type {Key} */ key) => {
    const sure = { title: t("keys.remove"), text: t("keys.remove-text", { name: key.name }), action: t("keys.remove") };
    if (await confirmed(sure)) await during(key.id, () => request(`/me/keys/${key.id}`, { method: "DELETE" }));
  };
  const columns = [
    { key: "name", label: t("keys.name"), cell: (/** @type {Key} */ key) => html`<div class="long"><bdi>${key.name}</bdi><br /><code class="hint">${key.prefix}…</code></div>` },
    { key: "may", label: t("keys.may"), cell: (/** @type {Key} */ key) => html`<${Abilities} row=${key} />` },
    { key: "used", label: t("keys.used"), cell: (/** @type {Key} */ key) => (key.last_used_at
      ? html`<time>${when(key.last_used_at)}</time><br /><span class="hint">${key.last_used_from}</span>` : t("keys.never")) },
    { key: "expires", label: t("keys.expires"), cell: (/** @type {Key} */ key) => (key.expires_at ? html`<time>${when(key.expires_at)}</time>` : t("keys.never")) },
    { key: "acts", label: t("keys.acts"), hidden: true, cell: (/** @type {Key} */ key) => html`<div class="row">
      <button type="button" class="quiet" disabled=${busy.value === key.id} aria-label=${`${t("keys.roll")}: ${key.name}`}
        onClick=${() => roll(key)}>${t("keys.roll")}</button>
      <button type="button" class="quiet" disabled=${busy.value === key.id} aria-label=${`${t("keys.remove")}: ${key.name}`}
        onClick=${() => remove(key)}>${t("keys.remove")}</button></div>` },
  ];
  return html`<section class="card" aria-labelledby="keys">
    <div class="row"><h2 id="keys">${t("keys.title")}</h2><span class="spring"></span>
      <button type="button" class="primary" onClick=${make}>${t("keys.new")}</button></div>
    <${Shown} loaded=${loaded}>${(/** @type {Key[]} */ rows) => html`<${Table} label=${t("keys.title")} columns=${columns} rows=${rows}
      id=${(/** @type {Key} */ { id }) => id} empty=${t("keys.none")} />`}<//></section>`;
}
