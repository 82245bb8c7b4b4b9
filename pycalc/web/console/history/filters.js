// The filters of the history: they are the address's query, so a filtered list is a link.

import { html, useEffect, useSignal } from "../../vendor/preact.js";
import { address, navigate, query, t, who } from "../app.js";
import { anonymous, readJson } from "../api.js";

const NAMES = ["operation", "since", "until", "user"];

/** The service's query for these filters. */
export function selection() {
  const chosen = new URLSearchParams();
  for (const name of NAMES) {
    const value = query.value.get(name);
    if (value) chosen.set(name, name === "since" || name === "until" ? new Date(value).toISOString() : value);
  }
  return chosen;
}

/** @param {string} name @param {string} value */
function choose(name, value) {
  const target = new URL(address.peek());
  if (value) target.searchParams.set(name, value);
  else target.searchParams.delete(name);
  navigate(target.href, { replace: true });
}

const onChange = (/** @type {any} */ { currentTarget: { name, value } }) => choose(name, value);

export function Filters() {
  const operations = useSignal(/** @type {string[]} */ ([]));
  useEffect(() => {
    anonymous("/").then(readJson).then(({ operations: all }) => { operations.value = all; }, () => {}); // without it: no choice
  }, []);
  const operation = query.value.get("operation") ?? "";
  const offered = [...new Set([...operations.value, ...(operation ? [operation] : [])])].sort();
  const any = NAMES.some((name) => query.value.has(name));
  return html`<form class="filters row" role="search" aria-label=${t("history.filters")} onSubmit=${(/** @type {Event} */ event) => event.preventDefault()}>
    <label class="field"><span>${t("history.operation")}</span><select name="operation" value=${operation} onChange=${onChange}>
      <option value="">${t("history.all")}</option>
      ${offered.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}</select></label>
    ${["since", "until"].map((name) => html`<label class="field" key=${name}><span>${t(`history.${name}`)}</span>
      <input type="datetime-local" name=${name} value=${query.value.get(name) ?? ""} onChange=${onChange} /></label>`)}
    ${who.value?.role === "admin" && html`<label class="field"><span>${t("history.user")}</span>
      <input name="user" data-slash value=${query.value.get("user") ?? ""} onChange=${onChange} autocomplete="off" autocapitalize="off" spellcheck=${false} /></label>`}
    ${any && html`<button type="button" class="quiet" onClick=${() => navigate(address.peek().pathname, { replace: true })}>${t("history.clear")}</button>`}
  </form>`;
}
