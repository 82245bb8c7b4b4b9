// The deletion of one's own account.

import { html } from "../../vendor/preact.js";
import { navigate, t, who } from "../app.js";
import { request } from "../api.js";
import { Dialog, openDialog } from "../parts/dialog.js";
import { Field, Form, PasswordField } from "../parts/form.js";
import { toast } from "../parts/toast.js";
import { forget } from "../session.js";

/** @param {{close: () => void, username: string}} props */
function Confirmation({ close, username }) {
  const submit = async (/** @type {any} */ { password }) => {
    await request("/me", { method: "DELETE", json: { password }, cookie: true });
    close();
    forget();
    navigate("/");
    toast(t("deletion.done"));
  };
  return html`<${Dialog} title=${t("deletion.title")} onClose=${close}>
    <p>${t("deletion.text")}</p>
    <${Form} submit=${submit} action=${t("deletion.action")} danger>${(/** @type {any} */ errors) => html`
      <${Field} name="typed" label=${t("app.type-to-confirm", { word: username })} error=${errors.typed} class="mono" autocomplete="off"
        autocapitalize="off" spellcheck=${false} required data-match=${username} autofocus />
      <${PasswordField} name="password" label=${t("account.password-current")} error=${errors.password}
        autocomplete="current-password" />`}<//><//>`;
}

export function Deletion() {
  const username = who.value?.username ?? "";
  const open = () => openDialog((close) => html`<${Confirmation} close=${() => close()} username=${username} />`);
  return html`<section class="card" aria-labelledby="deletion"><h2 id="deletion">${t("deletion.title")}</h2>
    <p class="hint">${t("deletion.hint")}</p>
    <button type="button" class="danger" onClick=${open}>${t("deletion.action")}</button></section>`;
}
