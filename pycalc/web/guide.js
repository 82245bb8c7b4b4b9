// Examples in tabs of one common language, with this service's address, and the search.

import { html, render, signal } from "./vendor/preact.js";
import { announce } from "./console/app.js";
import { CodeTabs } from "./console/parts/code-tabs.js";

const chosen = signal(0); // for all examples

for (const code of document.querySelectorAll(".guide pre code")) {
  code.textContent = (code.textContent ?? "").trimEnd().replaceAll("http://127.0.0.1:8080", location.origin);
}
for (const examples of document.querySelectorAll(".examples")) {
  const names = [...examples.querySelectorAll("p")];
  const codes = names.map((name) => ({ name: name.textContent ?? "", text: name.nextElementSibling?.textContent ?? "" }));
  const label = examples.closest("section")?.getAttribute("aria-label") ?? "";
  examples.replaceChildren();
  render(html`<${CodeTabs} label=${label} codes=${codes} shared=${chosen} />`, examples);
}

const sections = [...document.querySelectorAll(".guide section")].map((section) => ({
  section: /** @type {HTMLElement} */ (section),
  link: /** @type {HTMLElement | null | undefined} */ (document.querySelector(`.contents a[href="#${section.id}"]`)?.parentElement),
  text: (section.textContent ?? "").toLowerCase(),
}));
const query = /** @type {HTMLInputElement} */ (document.getElementById("guide-query"));
const nothing = /** @type {HTMLElement} */ (document.getElementById("guide-nothing"));
query.addEventListener("input", () => {
  const words = query.value.toLowerCase().split(/\s+/);
  let found = 0;
  for (const { section, link, text } of sections) {
    const matches = words.every((word) => text.includes(word));
    section.hidden = !matches;
    if (link) link.hidden = !matches;
    found += Number(matches);
  }
  nothing.hidden = found > 0;
  announce(`${found} of ${sections.length} tasks`);
});
/** @type {HTMLElement} */ (document.getElementById("guide-search")).hidden = false;
