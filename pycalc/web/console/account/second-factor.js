// The second factor: a secret for an authenticator app, its confirmation, the recovery codes, and its end.

import { html, useSignal } from "../../vendor/preact.js";
import { t, who } from "../app.js";
import { request, requestJson } from "../api.js";
import { CopyButton, saveBlob } from "../parts/clipboard.js";
import { Dialog, openDialog } from "../parts/dialog.js";
import { Field, Form, PasswordField } from "../parts/form.js";
import { toast } from "../parts/toast.js";
import { QrCode } from "./qr-code.js";

const CODE = { class: "mono", inputmode: "numeric", autocomplete: "one-time-code", autocapitalize: "off", spellcheck: false };

/** @param {boolean} totp */
const remember = (totp) => { if (who.value) who.value = { ...who.value, totp }; };

/** @param {{secret: string, uri: string, onDone: (codes: string[]) => void}} props */
function Secret({ secret, uri, onDone }) {
  const submit = async (/** @type {any} */ { totp }) => {
    const { recovery_codes } = await requestJson("/me/totp/confirm", { method: "POST", json: { totp } });
    remember(true);
    onDone(recovery_codes);
  };
  return html`<p>${t("totp.secret-text")}</p>
    <${QrCode} text=${uri} label=${t("totp.qr")} />
    <p class="secret"><code>${secret.match(/.{1,4}/g)?.join(" ")}</code></p>
    <div class="row"><${CopyButton} text=${() => secret} label=${t("totp.copy-secret")} />
      <a class="button quiet" href=${uri}>${t("totp.open-app")}</a></div>
    <${Form} submit=${submit} action=${t("totp.confirm")}>${(/** @type {any} */ errors) => html`
      <${Field} name="totp" label=${t("totp.code")} error=${errors.totp} required autofocus ...${CODE} />`}<//>`;
}

/** @param {{codes: string[], close: () => void}} props */
function RecoveryCodes({ codes, close }) {
  const text = codes.join("\n");
  const save = () => saveBlob(new Blob([`${text}\n`], { type: "text/plain" }), "pycalc-recovery-codes.txt");
  return html`<p>${t("totp.recovery-text")}</p>
    <pre tabindex="0" aria-label=${t("totp.recovery")}><code>${text}</code></pre>
    <div class="row"><${CopyButton} text=${() => text} />
      <button type="button" class="quiet" onClick=${save}>${t("app.download")}</button><span class="spring"></span>
      <button type="button" class="primary" onClick=${close}>${t("totp.recovery-kept")}</button></div>`;
}

/** @param {{close: () => void}} props */
function Enrolment({ close }) {
  const made = useSignal(/** @type {{secret: string, uri: string} | null} */ (null));
  const codes = useSignal(/** @type {string[]} */ ([]));
  const submit = async (/** @type {any} */ { password }) => {
    made.value = await requestJson("/me/totp", { method: "POST", json: { password } });
  };
  const title = t(codes.value.length > 0 ? "totp.recovery" : "totp.enrol");
  return html`<${Dialog} title=${title} onClose=${close}>
    ${codes.value.length > 0 ? html`<${RecoveryCodes} codes=${codes.value} close=${close} />`
      : made.value ? html`<${Secret} ...${made.value} onDone=${(/** @type {string[]} */ all) => { codes.value = all; }} />`
      : html`<${Form} submit=${submit} action=${t("totp.next")}>${(/** @type {any} */ errors) => html`
          <${PasswordField} name="password" label=${t("account.password-current")} error=${errors.password}
            autocomplete="current-password" autofocus />`}<//>`}<//>`;
}

/** @param {{close: () => void}} props */
function Removal({ close }) {
  const submit = async (/** @type {any} */ json) => {
    await request("/me/totp/disable", { method: "POST", json });
    remember(false);
    close();
    toast(t("totp.disabled"));
  };
  return html`<${Dialog} title=${t("totp.disable")} onClose=${close}>
    <${Form} submit=${submit} action=${t("totp.disable")}>${(/** @type {any} */ errors) => html`
      <${PasswordField} name="password" label=${t("account.password-current")} error=${errors.password}
        autocomplete="current-password" autofocus />
      <${Field} name="totp" label=${t("sign-in.code")} error=${errors.totp} required ...${CODE} inputmode="text" />`}<//><//>`;
}

export function SecondFactor() {
  const on = who.value?.totp === true;
  const open = () => openDialog((close) => html`<${on ? Removal : Enrolment} close=${() => close()} />`);
  return html`<section class="card" aria-labelledby="totp"><div class="row"><h2 id="totp">${t("totp.title")}</h2>
      <span class=${on ? "chip" : "chip warn"}>${t(on ? "totp.on" : "totp.off")}</span></div>
    <p class="hint">${t(on ? "totp.on-hint" : "totp.off-hint")}</p>
    <button type="button" class=${on ? "quiet" : "primary"} onClick=${open}>${t(on ? "totp.disable" : "totp.enrol")}</button></section>`;
}
