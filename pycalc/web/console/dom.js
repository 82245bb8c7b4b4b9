// Building elements. Data becomes text nodes and attributes only, never markup.

export const byId = (id) => document.getElementById(id);

/** An element with attributes (a function is a listener, `true` an empty attribute, null or false none) and children. */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, String(value));
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** A labelled input with room for a hint and for an error; `name` is what problems point at. */
export function field({ id, name, label, hint, input }) {
  const hintNode = hint ? element("p", { class: "hint", id: `${id}-hint` }, hint) : null;
  const errorNode = element("p", { class: "field-error", id: `${id}-error`, hidden: true });
  input.id = id;
  input.name = name;
  input.setAttribute("aria-describedby", hint ? `${id}-hint ${id}-error` : `${id}-error`);
  return element("div", { class: "field" }, element("label", { for: id }, label), input, hintNode, errorNode);
}

/** Marks one input of `form` invalid, or valid again with an empty message; false if there is no such input. */
export function markField(form, name, message) {
  const input = form.elements.namedItem(name);
  if (!(input instanceof HTMLElement)) return false;
  const note = byId(`${input.id}-error`);
  if (!note) return false;
  note.textContent = message;
  note.hidden = message === "";
  if (message === "") input.removeAttribute("aria-invalid");
  else input.setAttribute("aria-invalid", "true");
  return true;
}

export function clearFields(form) {
  for (const input of form.elements) if (input.name) markField(form, input.name, "");
}

/** Marks the required inputs that are empty; true if there is none. */
export function complete(form) {
  const empty = [...form.elements].filter((input) => input.required && input.value.trim() === "");
  for (const input of empty) markField(form, input.name, "Needed.");
  empty[0]?.focus();
  return empty.length === 0;
}

/** Shows a problem in `place`: title, detail, and those field errors for which `form` has no input. */
export function showProblem(place, problem, form = null) {
  const orphans = problem.errors.filter(({ pointer, detail }) => {
    const name = pointer.split("/").pop().replaceAll("~1", "/").replaceAll("~0", "~");
    return !(form && markField(form, name, detail));
  });
  const facts = [];
  if (problem.retryAfter !== null) facts.push(element("p", {}, `Try again in ${problem.retryAfter} s.`));
  if (orphans.length > 0) {
    const items = orphans.map(({ pointer, detail }) => element("li", {}, element("code", {}, pointer), ` ${detail}`));
    facts.push(element("ul", {}, ...items));
  }
  const { digits, limit, leading, trailing } = problem.members;
  if (leading !== undefined && trailing !== undefined) {
    facts.push(element("p", { class: "ends" }, element("code", {}, `${leading}…${trailing}`)));
    if (digits !== undefined) {
      const bound = limit === undefined ? "" : `; the limit is ${count(limit)}`;
      facts.push(element("p", {}, `${count(digits)} digits${bound}.`));
    }
  }
  const repeated = problem.errors.some(({ detail }) => detail === problem.detail);
  const detail = problem.detail && !repeated ? element("p", {}, problem.detail) : null;
  place.replaceChildren(element("p", { class: "problem-title" }, problem.title), ...[detail, ...facts].filter(Boolean));
  place.hidden = false;
  form?.querySelector("[aria-invalid]")?.focus();
}

export function hide(place) {
  place.hidden = true;
  place.replaceChildren();
}

const GROUPED = new Intl.NumberFormat("en");

/** An integer with its thousands set apart; one too large for a JSON number comes as a string of digits. */
export function count(value) {
  if (typeof value === "string") return /^\d+$/.test(value) ? GROUPED.format(BigInt(value)) : value;
  return GROUPED.format(value);
}

/** A duration given in milliseconds, to three figures. */
export function duration(ms) {
  if (typeof ms !== "number") return "";
  return ms < 1000 ? `${Number(ms.toPrecision(3))} ms` : `${Number((ms / 1000).toPrecision(3))} s`;
}

/** Puts text on the clipboard; browsers offer that to secure origins only, others get the older way. */
export async function copyText(text) {
  if (navigator.clipboard && window.isSecureContext) {
    await navigator.clipboard.writeText(text);
    return;
  }
  const area = element("textarea", { class: "offscreen", "aria-hidden": "true", readonly: true });
  area.value = text;
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  if (!copied) throw new Error("the browser refused to copy");
}

/** Copies `text()` on a click and says on the button for a moment whether it worked. */
export function copyButton(label, text) {
  const button = element("button", { type: "button", class: "quiet" }, label);
  button.addEventListener("click", async () => {
    const said = await copyText(text()).then(() => "Copied", () => "Not copied");
    button.textContent = said;
    setTimeout(() => { button.textContent = label; }, 1500);
  });
  return button;
}

export function saveBlob(blob, filename) {
  const url = URL.createObjectURL(blob);
  element("a", { href: url, download: filename }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
