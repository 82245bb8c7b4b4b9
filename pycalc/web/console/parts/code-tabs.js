// The same call in several languages.

import { html, useSignal } from "../../vendor/preact.js";
import { CopyButton } from "./clipboard.js";
import { useElementId } from "./ids.js";

/**
 * `shared` is the index of the language where several of these show the same one.
 * @param {{label: string, codes: {name: string, text: string}[], shared?: import("../../vendor/preact.js").Signal<number>}} props
 */
export function CodeTabs({ label, codes, shared }) {
  const own = useSignal(0);
  const chosen = shared ?? own;
  const id = useElementId();
  const onKey = (/** @type {KeyboardEvent} */ event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    chosen.value = (chosen.value + step + codes.length) % codes.length;
    document.getElementById(`${id}-${chosen.value}`)?.focus();
  };
  const { text } = codes[chosen.value];
  return html`<div class="code-tabs">
    <div class="row"><div role="tablist" aria-label=${label} onKeyDown=${onKey}>${codes.map(({ name }, index) => html`
      <button type="button" role="tab" key=${name} id=${`${id}-${index}`} aria-selected=${index === chosen.value}
        aria-controls=${`${id}-panel`} tabindex=${index === chosen.value ? 0 : -1}
        onClick=${() => { chosen.value = index; }}>${name}</button>`)}</div>
      <span class="spring"></span><${CopyButton} text=${() => text} /></div>
    <pre id=${`${id}-panel`} role="tabpanel" aria-labelledby=${`${id}-${chosen.value}`} tabindex="0"><code>${text}</code></pre>
  </div>`;
}
