// Dialogs: native, modal, closed by Escape; focus returns to where it was.

import { html, render, useEffect, useRef } from "../../vendor/preact.js";
import { t } from "../app.js";
import { useElementId } from "./ids.js";

/**
 * A modal dialog, open as long as it is rendered. With `side` it is a drawer at the edge of the page. The focus is at first on
 * the element with `autofocus`, without one on the heading.
 * @param {{title: string, onClose: () => void, side?: boolean, children?: any}} props
 */
export function Dialog({ title, onClose, side = false, children }) {
  const place = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const heading = useRef(/** @type {HTMLElement | null} */ (null));
  const closing = useRef(/** @type {HTMLElement | null} */ (null));
  const id = useElementId();
  useEffect(() => {
    const before = /** @type {HTMLElement | null} */ (document.activeElement);
    place.current?.showModal();
    // A second Enter from the form before must not close what is shown only once.
    if (document.activeElement === closing.current) heading.current?.focus();
    return () => before?.focus();
  }, []);
  const outside = (/** @type {MouseEvent} */ event) => { if (event.target === place.current) place.current?.close(); };
  return html`<dialog ref=${place} class=${side ? "drawer" : ""} aria-labelledby=${id} onClose=${onClose} onMouseDown=${outside}>
    <div class="dialog-body"><div class="row"><h2 id=${id} ref=${heading} tabindex="-1">${title}</h2><span class="spring"></span>
      <button ref=${closing} type="button" class="quiet" aria-label=${t("app.close")} onClick=${() => place.current?.close()}>✕</button></div>
    ${children}</div></dialog>`;
}

/** A dialog at the side of the page, for the details of a row. @param {{title: string, onClose: () => void, children?: any}} props */
export function Drawer(props) {
  return html`<${Dialog} ...${props} side=${true} />`;
}

/**
 * Open a dialog that belongs to no page: `make(close)` returns it. The promise ends when the dialog is closed.
 * @template T
 * @param {(close: (value?: T) => void) => any} make
 * @returns {Promise<T | undefined>}
 */
export function openDialog(make) {
  return new Promise((resolve) => {
    const host = document.createElement("div");
    document.body.append(host);
    const close = (/** @type {T | undefined} */ value) => {
      render(null, host);
      host.remove();
      resolve(value);
    };
    render(make(close), host);
  });
}

/**
 * Ask before something is done that cannot be undone. With `typed`, that word must be typed first.
 * @param {{title: string, text: string, action: string, typed?: string}} question
 * @returns {Promise<boolean>}
 */
export async function confirmed({ title, text, action, typed }) {
  const answer = await openDialog((close) => {
    const submit = (/** @type {any} */ event) => {
      event.preventDefault();
      if (!typed || event.currentTarget.elements.typed.value === typed) close(true);
    };
    return html`<${Dialog} title=${title} onClose=${() => close(false)}><form onSubmit=${submit}>
      <p>${text}</p>
      ${typed && html`<label class="field"><span>${t("app.type-to-confirm", { word: typed })}</span>
        <input name="typed" autocomplete="off" autocapitalize="off" spellcheck=${false} class="mono" required pattern=${typed} /></label>`}
      <div class="row"><button type="submit" class="danger">${action}</button>
        <button type="button" class="quiet" onClick=${() => close(false)}>${t("app.cancel")}</button></div></form><//>`;
  });
  return answer === true;
}
