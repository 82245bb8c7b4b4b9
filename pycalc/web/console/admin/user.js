// One account: its role, its limits, and what an admin can do with it.

import { html, useSignal } from "../../vendor/preact.js";
import { duration, number, t, when, who } from "../app.js";
import { request, requestJson } from "../api.js";
import { CopyButton } from "../parts/clipboard.js";
import { Dialog, Drawer, confirmed, openDialog } from "../parts/dialog.js";
import { ErrorCard } from "../parts/error-card.js";
import { Field, Form } from "../parts/form.js";
import { attempt } from "../parts/loaded.js";
import { toast } from "../parts/toast.js";

/** @typedef {import("./users.js").Account} Account */

const LIMITS = ["rate_limit", "compute", "digits", "history"];
const HINTS = { rate_limit: "60/minute; 1000/day", compute: "300s/hour", digits: "5GB/day", history: "100000" };

/** @param {{link: string, expires: string, username: string, close: () => void}} props */
function ResetLink({ link, expires, username, close }) {
  return html`<${Dialog} title=${t("users.reset-for", { name: username })} onClose=${close}>
    <p>${t("users.reset-text", { time: when(expires, { timeStyle: "short" }) })}</p>
    <p class="secret"><code>${link}</code></p><${CopyButton} text=${() => link} /><//>`;
}

/** @param {{account: Account, onChanged: () => Promise<void>}} props */
function Limits({ account, onChanged }) {
  const submit = async (/** @type {Record<string, string>} */ values) => {
    const quota = Object.fromEntries(LIMITS.map((name) => [name, values[name] === "" ? null
      : name === "history" && /^\d+$/.test(values[name]) ? Number(values[name]) : values[name]]));
    await requestJson(`/users/${account.username}`, { method: "PATCH", json: { quota } });
    toast(t("users.limits-saved"));
    await onChanged();
  };
  return html`<details><summary>${t("users.limits")}</summary><p class="hint">${t("users.limits-hint")}</p>
    <${Form} submit=${submit} action=${t("users.limits-save")}>${(/** @type {any} */ errors) => LIMITS.map((name) => html`
      <${Field} key=${name} name=${name} label=${t(`users.limit.${name}`)} hint=${HINTS[/** @type {"compute"} */ (name)]} error=${errors[name]}
        value=${account.quota[name] ?? ""} class="mono" autocomplete="off" />`)}<//></details>`;
}

/** @param {{account: Account, onChanged: () => Promise<void>, onClose: () => void}} props */
export function UserDrawer({ account, onChanged, onClose }) {
  const { username, role, disabled } = account;
  const problem = useSignal(/** @type {import("../api.js").Problem | null} */ (null));
  const path = `/users/${username}`;
  const act = async (/** @type {() => Promise<unknown>} */ work, /** @type {string} */ done) => {
    problem.value = null;
    await attempt(async () => {
      await work();
      toast(t(done, { name: username }));
      await onChanged();
    }, (reason) => { problem.value = reason; });
  };
  const change = (/** @type {object} */ json, /** @type {string} */ done) => act(() => request(path, { method: "PATCH", json }), done);
  const ask = async (/** @type {string} */ key, /** @type {string} */ method, /** @type {string} */ at, typed = false) => {
    const sure = { title: t(`users.${key}`), text: t(`users.${key}-text`, { name: username }), action: t(`users.${key}`), typed: typed ? username : undefined };
    if (!(await confirmed(sure))) return;
    await act(() => request(at, { method }), `users.${key}-done`);
  };
  const reset = () => attempt(async () => {
    const { link, expires_at: expires } = await requestJson(`${path}/password-reset`, { method: "POST" });
    await openDialog((close) => html`<${ResetLink} link=${new URL(link, location.origin).href} expires=${expires} username=${username} close=${() => close()} />`);
  }, (reason) => { problem.value = reason; });
  const own = who.value?.username === username;
  const facts = [
    ["sign-in.email", account.email], ["account.since", when(account.created_at, { dateStyle: "long" })],
    ["users.seen", account.last_sign_in_at ? when(account.last_sign_in_at) : t("keys.never")],
    ["users.today", `${number(account.today.calculations)} · ${t("digits", { n: account.today.digits })} · ${duration(account.today.compute_ms)}`],
    ["totp.title", t(account.totp ? "totp.on" : "totp.off")],
  ];
  return html`<${Drawer} title=${username} onClose=${onClose}>
    <div class="chips"><span class="chip">${t(`role.${role}`)}</span>${disabled && html`<span class="chip warn">${t("users.disabled")}</span>`}</div>
    <dl class="pairs">${facts.map(([key, value]) => html`<dt key=${key}>${t(key)}</dt><dd>${value}</dd>`)}</dl>
    ${problem.value && html`<${ErrorCard} problem=${problem.value} />`}
    <div class="row"><button type="button" class="quiet" onClick=${() => change({ role: role === "admin" ? "user" : "admin" }, "users.changed")}>
        ${t(role === "admin" ? "users.demote" : "users.promote")}</button>
      <button type="button" class="quiet" onClick=${() => change({ disabled: !disabled }, "users.changed")}>${t(disabled ? "users.enable" : "users.disable")}</button>
      <button type="button" class="quiet" onClick=${() => ask("end-sessions", "DELETE", `${path}/sessions`)}>${t("users.end-sessions")}</button>
      <button type="button" class="quiet" onClick=${reset}>${t("users.reset")}</button>
      ${account.totp && html`<button type="button" class="quiet" onClick=${() => ask("remove-totp", "DELETE", `${path}/totp`)}>${t("users.remove-totp")}</button>`}
      <a class="button quiet" href=${`/console/history?user=${encodeURIComponent(username)}`} onClick=${onClose}>${t("users.history")}</a></div>
    <${Limits} account=${account} onChanged=${onChanged} />
    ${!own && html`<button type="button" class="danger" onClick=${() => ask("delete", "DELETE", path, true)}>${t("users.delete")}</button>`}<//>`;
}
