// The dialog for signing in, creating an account, and setting a new password with the link of a reset.

import { html, useEffect, useSignal } from "../../vendor/preact.js";
import { t } from "../app.js";
import { Problem, anonymous, readJson } from "../api.js";
import { register, signIn } from "../session.js";
import { Dialog, openDialog } from "./dialog.js";
import { Field, Form, PasswordField } from "./form.js";
import { toast } from "./toast.js";

/** @param {{close: (done?: boolean) => void}} props */
function Login({ close }) {
  const code = useSignal(false);
  const submit = async (/** @type {any} */ values) => {
    try {
      await signIn(values);
    } catch (error) {
      if (error instanceof Problem && error.code === "totp-required") code.value = true;
      throw error;
    }
    close(true);
  };
  return html`<${Form} submit=${submit} action=${t("sign-in.action")}>${(/** @type {any} */ errors) => html`
    <${Field} name="username" label=${t("sign-in.username")} error=${errors.username} autocomplete="username" autocapitalize="off"
      spellcheck=${false} required autofocus />
    <${PasswordField} name="password" label=${t("sign-in.password")} error=${errors.password} autocomplete="current-password" />
    ${code.value && html`<${Field} name="totp" label=${t("sign-in.code")} error=${errors.totp} class="mono"
      autocomplete="one-time-code" autocapitalize="off" spellcheck=${false} required />`}`}<//>`;
}

/** @param {{close: (done?: boolean) => void}} props */
function Registration({ close }) {
  const submit = async (/** @type {any} */ { username, email, password, bootstrap }) => {
    await register({ username, email, password }, bootstrap?.trim());
    close(true);
  };
  return html`<${Form} submit=${submit} action=${t("sign-in.create")}>${(/** @type {any} */ errors) => html`
    <${Field} name="username" label=${t("sign-in.username")} error=${errors.username} autocomplete="username" autocapitalize="off"
      spellcheck=${false} required autofocus />
    <${Field} name="email" type="email" label=${t("sign-in.email")} error=${errors.email} autocomplete="email" required />
    <${PasswordField} name="password" label=${t("sign-in.password")} error=${errors.password} autocomplete="new-password" />
    <details><summary>${t("sign-in.admin")}</summary>
      <${Field} name="bootstrap" label=${t("sign-in.bootstrap")} hint=${t("sign-in.bootstrap-hint")} class="mono" autocomplete="off"
        autocapitalize="off" spellcheck=${false} /></details>`}<//>`;
}

/** @param {{close: (done?: boolean) => void}} props */
function SignIn({ close }) {
  const creating = useSignal(false);
  const ways = useSignal({ password: true, provider: /** @type {string | null} */ (null) });
  useEffect(() => {
    anonymous("/").then(readJson).then(({ sign_in }) => { ways.value = sign_in; }, () => {}); // without an answer the forms stay
  }, []);
  const leave = () => {
    try { sessionStorage.setItem("pycalc.return", location.href); } catch { /* the console will do */ }
  };
  return html`<${Dialog} title=${t(creating.value ? "sign-in.create" : "sign-in.title")} onClose=${() => close(false)}>
    ${ways.value.provider && html`<a class="button primary" href=${ways.value.provider} onClick=${leave}>${t("sign-in.provider")}</a>`}
    ${ways.value.password && html`${creating.value ? html`<${Registration} close=${close} />` : html`<${Login} close=${close} />`}
      <p class="hint">${t(creating.value ? "sign-in.have" : "sign-in.none")} <button type="button" class="link"
        onClick=${() => { creating.value = !creating.value; }}>${t(creating.value ? "sign-in.title" : "sign-in.create")}</button></p>`}<//>`;
}

/** @type {Promise<boolean | undefined> | null} */
let opened = null;

/** Open the dialog, once; true if somebody is signed in at its end. */
export function openSignIn() {
  opened ??= openDialog((close) => html`<${SignIn} close=${close} />`).finally(() => { opened = null; });
  return opened;
}

/** Ask for a new password, with the token of a reset link. @param {string} token */
export function openReset(token) {
  return openDialog((close) => {
    const submit = async (/** @type {any} */ { new_password }) => {
      await anonymous("/password-reset", { method: "POST", json: { token, new_password } });
      close(true);
      toast(t("reset.done"));
      openSignIn();
    };
    return html`<${Dialog} title=${t("reset.title")} onClose=${() => close(false)}>
      <${Form} submit=${submit} action=${t("reset.action")}>${(/** @type {any} */ errors) => html`
        <${PasswordField} name="new_password" label=${t("reset.password")} error=${errors.new_password} hint=${t("reset.hint")}
          autocomplete="new-password" autofocus />`}<//><//>`;
  });
}
