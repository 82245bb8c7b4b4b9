// Forms: labelled fields, each with its error below it, and one submission at a time.

import { html, useLayoutEffect, useRef, useSignal } from "../../vendor/preact.js";
import { t } from "../app.js";
import { Problem } from "../api.js";
import { ErrorCard } from "./error-card.js";
import { useElementId } from "./ids.js";

/**
 * An input with its label, a hint and its error. `value` is what it holds at first, and again when it changes: what is typed
 * survives every other change of the page. Every other property goes to the input.
 * @param {{name: string, label: string, hint?: string, error?: string, value?: string, onInput?: (event: any) => void, [attribute: string]: any}} props
 */
export function Field({ name, label, hint, error, value, onInput, ...attributes }) {
  const id = useElementId();
  const typed = useSignal(value);
  useLayoutEffect(() => { typed.value = value; }, [value]); // before anything can be typed
  const keep = (/** @type {any} */ event) => {
    if (value !== undefined) typed.value = event.currentTarget.value;
    onInput?.(event);
  };
  const described = [hint ? `${id}-hint` : "", error ? `${id}-error` : ""].filter(Boolean).join(" ");
  return html`<div class="field"><label for=${id}>${label}</label>
    <input id=${id} name=${name} value=${typed.value} onInput=${keep} aria-invalid=${error ? "true" : undefined} aria-describedby=${described || undefined} ...${attributes} />
    ${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
    ${error && html`<p class="field-error" id=${`${id}-error`}>${error}</p>`}</div>`;
}

/** A field for a password, which can be shown. @param {{name: string, label: string, error?: string, [attribute: string]: any}} props */
export function PasswordField(props) {
  const shown = useSignal(false);
  return html`<${Field} ...${props} type=${shown.value ? "text" : "password"} autocapitalize="off" spellcheck=${false} required />
    <label class="check"><input type="checkbox" checked=${shown.value} onChange=${() => { shown.value = !shown.value; }} />
      ${t("sign-in.show-password")}</label>`;
}

/**
 * A form whose `submit(values)` may throw a Problem: the errors stand at their fields, the rest in a card above them.
 * `children(errors)` renders the fields, given the error texts by field name. A field with `data-match` must hold that text.
 * @param {{submit: (values: Record<string, string>, form: HTMLFormElement) => Promise<unknown>, action: string, danger?: boolean,
 *   children?: any}} props
 */
export function Form({ submit, action, danger = false, children }) {
  const problem = useSignal(/** @type {Problem | null} */ (null));
  const missing = useSignal(/** @type {Record<string, string>} */ ({}));
  const busy = useSignal(false);
  const form = useRef(/** @type {HTMLFormElement | null} */ (null));
  const errors = { ...missing.value };
  const orphans = (problem.value?.errors ?? []).filter(({ pointer, detail }) => {
    const name = pointer.split("/").pop() ?? "";
    if (!form.current?.elements.namedItem(name)) return true;
    errors[name] = detail;
    return false;
  });
  const focusFirst = () => requestAnimationFrame(() => {
    const wrong = /** @type {HTMLElement | null} */ (form.current?.querySelector("[aria-invalid]") ?? null);
    wrong?.focus();
  });
  const onSubmit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (busy.value || !form.current) return;
    const inputs = /** @type {HTMLInputElement[]} */ ([...form.current.elements]);
    const empty = inputs.filter((input) => input.required && input.value.trim() === "");
    const different = inputs.filter(({ dataset, value }) => dataset.match !== undefined && value !== dataset.match);
    missing.value = Object.fromEntries([
      ...different.map(({ name, dataset }) => [name, t("app.type-to-confirm", { word: dataset.match ?? "" })]),
      ...empty.map(({ name }) => [name, t("app.needed")]),
    ]);
    problem.value = null;
    if (empty.length + different.length > 0) {
      focusFirst();
      return;
    }
    busy.value = true;
    try {
      await submit(/** @type {Record<string, string>} */ (Object.fromEntries(new FormData(form.current))), form.current);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      problem.value = error;
      focusFirst();
    } finally {
      busy.value = false;
    }
  };
  const onKey = (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    form.current?.requestSubmit();
  };
  const card = problem.value && (problem.value.errors.length === 0 || orphans.length > 0);
  return html`<form ref=${form} novalidate onSubmit=${onSubmit} onKeyDown=${onKey} aria-busy=${busy.value}>
    ${card && html`<${ErrorCard} problem=${problem.value} />`}
    ${children(errors)}
    <button type="submit" class=${danger ? "danger" : "primary"} aria-disabled=${busy.value}>${action}</button></form>`;
}
