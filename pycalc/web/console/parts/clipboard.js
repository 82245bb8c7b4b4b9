// Copying and saving.

import { html, useSignal } from "../../vendor/preact.js";
import { announce, t } from "../app.js";

/** Put text on the clipboard; browsers offer that to secure origins only, others get the older way. @param {string} text */
export async function copyText(text) {
  if (navigator.clipboard && window.isSecureContext) {
    await navigator.clipboard.writeText(text);
    return;
  }
  const area = document.createElement("textarea");
  area.className = "offscreen";
  area.value = text;
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  if (!copied) throw new Error("the browser refused to copy");
}

/** A button that copies `text()` and says for a moment whether it worked. @param {{text: () => string, label?: string}} props */
export function CopyButton({ text, label }) {
  const said = useSignal("");
  const copy = async () => {
    said.value = await copyText(text()).then(() => t("app.copied"), () => t("app.not-copied"));
    announce(said.value);
    setTimeout(() => { said.value = ""; }, 1500);
  };
  return html`<button type="button" class="quiet" onClick=${copy}>${said.value || label || t("app.copy")}</button>`;
}

/** @param {Blob} blob @param {string} filename */
export function saveBlob(blob, filename) {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = filename;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
