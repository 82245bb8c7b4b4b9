// The filters of the history.

import { html, useEffect, useSignal } from "../../vendor/preact.js";
import { address, navigate, query, t, who } from "../app.js";
import { anonymous, readJson } from "../api.js";
import { FilterField, onChoose } from "../parts/filters.js";

export const NAMES = ["operation", "since", "until", "user"];

export function Filters() {
  const operations = useSignal(/** @type {string[]} */ ([]));
  useEffect(() => {
    anonymous("/").then(readJson).then(({ operations: all }) => { operations.value = all; }, () => {}); // without it: no choice
  }, []);
  const operation = query.value.get("operation") ?? "";
  const offered = [...new Set([...operations.value, ...(operation ? [operation] : [])])].sort();
  const any = NAMES.some((name) => query.value.has(name));
  return html`<form class="filters row" role="search" aria-label=${t("history.filters")} onSubmit=${(/** @type {Event} */ event) => event.preventDefault()}>
    <label class="field"><span>${t("history.operation")}</span><select name="operation" value=${operation} onChange=${onChoose}>
      <option value="">${t("history.all")}</option>
      ${offered.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}</select></label>
    ${["since", "until"].map((name) => html`<${FilterField} key=${name} name=${name} label=${t(`history.${name}`)} type="datetime-local" />`)}
    ${who.value?.role === "admin" && html`<${FilterField} name="user" label=${t("history.user")} data-slash />`}
    ${any && html`<button type="button" class="quiet" onClick=${() => navigate(address.peek().pathname, { replace: true })}>${t("history.clear")}</button>`}
  </form>`;
}
