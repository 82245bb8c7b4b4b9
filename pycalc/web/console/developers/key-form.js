// The form for a new API key: its name, scopes, life and limits.

import { html, useSignal } from "../../vendor/preact.js";
import { number, t, who } from "../app.js";
import { Field, Form } from "../parts/form.js";

const SCOPES = ["calculate", "history:read", "usage:read", "events:read", "account:read"];
const DAYS = [7, 30, 90, 365];
const DAY_SECONDS = 86_400;

/** @param {{submit: (json: any) => Promise<unknown>}} props */
export function KeyForm({ submit }) {
  const scopes = useSignal(["calculate"]);
  const inUrl = useSignal(false);
  const offered = who.value?.role === "admin" ? [...SCOPES, "admin:read"] : SCOPES;
  const toggle = (/** @type {string} */ scope) => {
    scopes.value = offered.filter((one) => (one === scope) !== scopes.value.includes(one));
    if (scopes.value.join() !== "calculate") inUrl.value = false;
  };
  const send = (/** @type {Record<string, string>} */ { name, days, rate_limit, compute, digits }) => submit({
    name,
    scopes: scopes.value,
    allow_query: inUrl.value,
    expires_in: days === "" ? null : Number(days) * DAY_SECONDS,
    limits: { rate_limit: rate_limit || null, compute: compute || null, digits: digits || null },
  });
  const calculateOnly = scopes.value.join() === "calculate";
  return html`<${Form} submit=${send} action=${t("keys.make")}>${(/** @type {any} */ errors) => html`
    <${Field} name="name" label=${t("keys.name")} error=${errors.name} maxlength="100" autocomplete="off" required autofocus />
    <fieldset class="choices"><legend>${t("keys.may")}</legend>${offered.map((scope) => html`
      <label class="check" key=${scope}><input type="checkbox" checked=${scopes.value.includes(scope)} onChange=${() => toggle(scope)} />
        <span><code>${scope}</code> <span class="hint">${t(`scope.${scope}`)}</span></span></label>`)}</fieldset>
    <label class="field"><span>${t("keys.life")}</span><select name="days">${DAYS.map((days) => html`
      <option key=${days} value=${days} selected=${days === 90}>${number(days, { style: "unit", unit: "day", unitDisplay: "long" })}</option>`)}
      <option value="">${t("keys.for-ever")}</option></select></label>
    <details><summary>${t("keys.more")}</summary>
      <label class="check"><input type="checkbox" checked=${inUrl.value} disabled=${!calculateOnly}
        onChange=${() => { inUrl.value = !inUrl.value; }} /><span>${t("keys.allow-query")} <span class="hint">${t("keys.allow-query-hint")}</span></span></label>
      <${Field} name="rate_limit" label=${t("keys.rate")} hint="60/minute; 1000/day" error=${errors.rate_limit} class="mono" autocomplete="off" />
      <${Field} name="compute" label=${t("keys.compute")} hint="10s/hour" error=${errors.compute} class="mono" autocomplete="off" />
      <${Field} name="digits" label=${t("keys.digits")} hint="100MB/day" error=${errors.digits} class="mono" autocomplete="off" /></details>`}<//>`;
}
