// Filters whose state is the address's query, so that a filtered list is a link.

import { html, useLayoutEffect, useSignal } from "../../vendor/preact.js";
import { address, navigate, query } from "../app.js";

/** Set a member of the address's query, or remove it when the value is empty. @param {string} name @param {string} value */
export function choose(name, value) {
  const target = new URL(address.peek());
  if (value) target.searchParams.set(name, value);
  else target.searchParams.delete(name);
  navigate(target.href, { replace: true });
}

/** The handler of a field that has the name of its member. */
export const onChoose = (/** @type {any} */ { currentTarget: { name, value } }) => choose(name, value.trim());

/**
 * A text that filters a list, with its label. What is typed survives the arrival of the list. Every other property goes to
 * the input. @param {{name: string, label: string, of?: string, [attribute: string]: any}} props `of` is the label's class
 */
export function FilterField({ name, label, of = "field", ...attributes }) {
  const chosen = query.value.get(name) ?? "";
  const typed = useSignal(chosen);
  useLayoutEffect(() => { typed.value = chosen; }, [chosen]);
  return html`<label class=${of}><span>${label}</span><input name=${name} value=${typed.value} onChange=${onChoose}
    onInput=${(/** @type {any} */ event) => { typed.value = event.currentTarget.value; }} autocomplete="off" autocapitalize="off"
    spellcheck=${false} ...${attributes} /></label>`;
}

/** Whether a filter is a moment, in the form of `datetime-local`. @param {string} name */
export const isMoment = (name) => name === "since" || name === "until";

/** The members of the address's query with these names, as the service reads them. A text that is no moment is left out.
 * @param {string[]} names */
export function selection(names) {
  const chosen = new URLSearchParams();
  for (const name of names) {
    const value = query.value.get(name);
    if (!value) continue;
    if (!isMoment(name)) chosen.set(name, value);
    else if (!Number.isNaN(Date.parse(value))) chosen.set(name, new Date(value).toISOString());
  }
  return chosen;
}
