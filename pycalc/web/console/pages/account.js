// The page Account: who one is, how the console looks, the password, the second factor, the sessions, the end.

import { html } from "../../vendor/preact.js";
import { language, t, theme, when, who } from "../app.js";
import { request } from "../api.js";
import { Deletion } from "../account/deletion.js";
import { SecondFactor } from "../account/second-factor.js";
import { Sessions } from "../account/sessions.js";
import { Form, PasswordField } from "../parts/form.js";
import { toast } from "../parts/toast.js";

export const access = "user";

function Profile() {
  const user = who.value;
  if (!user) return null;
  const { username, email, role, created_at } = user;
  return html`<section class="card" aria-labelledby="profile"><h2 id="profile">${t("account.profile")}</h2>
    <dl class="pairs">
      <dt>${t("sign-in.username")}</dt><dd>${username} <span class="chip">${t(`role.${role}`)}</span></dd>
      <dt>${t("sign-in.email")}</dt><dd>${email}</dd>
      <dt>${t("account.since")}</dt><dd>${when(created_at, { dateStyle: "long" })}</dd>
    </dl></section>`;
}

/** @param {{label: string, setting: typeof theme, options: string[], prefix: string}} props */
function Setting({ label, setting, options, prefix }) {
  return html`<fieldset class="choices row"><legend>${label}</legend>${options.map((value) => html`
    <label class="check" key=${value}><input type="radio" name=${prefix} value=${value} checked=${setting.value.value === value}
      onChange=${() => setting.keep(value)} />${t(`${prefix}.${value}`)}</label>`)}</fieldset>`;
}

function Look() {
  return html`<section class="card" aria-labelledby="look"><h2 id="look">${t("account.look")}</h2>
    <${Setting} label=${t("menu.theme")} setting=${theme} options=${["auto", "light", "dark"]} prefix="theme" />
    <${Setting} label=${t("menu.language")} setting=${language} options=${["en", "de"]} prefix="language" /></section>`;
}

function Password() {
  const submit = async (/** @type {any} */ { current_password, new_password }, /** @type {HTMLFormElement} */ form) => {
    await request("/me/password", { method: "PUT", json: { current_password, new_password } });
    form.reset();
    toast(t("account.password-done"));
  };
  return html`<section class="card" aria-labelledby="password"><h2 id="password">${t("account.password")}</h2>
    <p class="hint">${t("account.password-hint")}</p>
    <${Form} submit=${submit} action=${t("account.password-action")}>${(/** @type {any} */ errors) => html`
      <${PasswordField} name="current_password" label=${t("account.password-current")} error=${errors.current_password}
        autocomplete="current-password" />
      <${PasswordField} name="new_password" label=${t("account.password-new")} error=${errors.new_password}
        autocomplete="new-password" />`}<//></section>`;
}

export default function Account() {
  return html`<h1 tabindex="-1">${t("account.title")}</h1><p class="lead">${t("account.lead")}</p>
    <div class="cards"><${Profile} /><${Look} /><${Password} /><${SecondFactor} /></div>
    <${Sessions} /><${Deletion} />`;
}
