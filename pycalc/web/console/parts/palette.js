// The command palette: every page and action by its name.

import { html, useSignal } from "../../vendor/preact.js";
import { commands, t } from "../app.js";
import { Dialog, openDialog } from "./dialog.js";
import { useElementId } from "./ids.js";

const KEYS = ["/", "?", "Ctrl K", "Ctrl Enter", "Esc"];
let open = false;

/** @param {{close: (run?: () => void) => void}} props */
function Palette({ close }) {
  const text = useSignal("");
  const at = useSignal(0);
  const id = useElementId();
  const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = commands.value.filter(({ title }) => words.every((word) => title.toLowerCase().includes(word)));
  const chosen = Math.min(at.value, found.length - 1);
  const onKey = (/** @type {KeyboardEvent} */ event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && found.length > 0) {
      event.preventDefault();
      at.value = (chosen + step + found.length) % found.length;
      document.getElementById(`${id}-${at.value}`)?.scrollIntoView({ block: "nearest" });
    } else if (event.key === "Enter" && found[chosen]) {
      event.preventDefault();
      close(found[chosen].run);
    }
  };
  const onInput = (/** @type {any} */ event) => { text.value = event.currentTarget.value; at.value = 0; };
  return html`<${Dialog} title=${t("palette.title")} onClose=${() => close()}>
    <input type="text" role="combobox" aria-label=${t("palette.search")} placeholder=${t("palette.search")} autocomplete="off"
      aria-expanded="true" aria-controls=${`${id}-list`} aria-activedescendant=${found[chosen] ? `${id}-${chosen}` : undefined}
      value=${text.value} onInput=${onInput} onKeyDown=${onKey} autofocus />
    <ul id=${`${id}-list`} role="listbox" aria-label=${t("palette.title")} class="palette">${found.map((command, index) => html`
      <li key=${command.id} id=${`${id}-${index}`} role="option" aria-selected=${index === chosen}
        onClick=${() => close(command.run)}>${command.title}<span class="spring"></span>
        ${command.keys && html`<kbd>${command.keys}</kbd>`}</li>`)}</ul>
    ${found.length === 0 && html`<p class="empty">${t("palette.nothing")}</p>`}
    <dl class="keys">${KEYS.map((key) => html`<div key=${key}><dt><kbd>${key}</kbd></dt><dd>${t(`key.${key}`)}</dd></div>`)}</dl><//>`;
}

export async function openPalette() {
  if (open) return;
  open = true;
  const run = await openDialog((close) => html`<${Palette} close=${close} />`);
  open = false;
  run?.();
}
