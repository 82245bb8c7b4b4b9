// A QR code as SVG, dark on light in every theme, because that is what cameras expect.

import { html } from "../../vendor/preact.js";
import { generate } from "../../vendor/qr.js";

const QUIET = 4; // modules around the code, as ISO/IEC 18004 asks for

/** @param {{text: string, label: string}} props */
export function QrCode({ text, label }) {
  const code = generate(text);
  const lines = Array.from({ length: code.size }, (_, index) => index);
  const path = lines.flatMap((y) => lines.filter((x) => code.get(x, y)).map((x) => `M${x} ${y}h1v1h-1z`)).join("");
  const width = code.size + 2 * QUIET;
  return html`<svg class="qr" role="img" aria-label=${label} viewBox=${`${-QUIET} ${-QUIET} ${width} ${width}`} shape-rendering="crispEdges">
    <path d=${path} /></svg>`;
}
