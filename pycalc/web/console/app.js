// The application: language and theme, addresses and titles, and the page that stands at an address.
// Everything that pages share and that has to be there at once is here; ADR 37 says why it is one file.

import { computed, effect, html, render, signal, useEffect, useSignal } from "../vendor/preact.js";

const LANGUAGES = ["en", "de"];
/** @type {Record<string, string>} */
const ROUTES = { "/": "calculate" };
for (const name of ["batch", "history", "usage", "developers", "account", "admin"]) ROUTES[`/console/${name}`] = name;

/**
 * A setting that this browser keeps; storage may be full or forbidden.
 * @param {string} name
 * @param {string[]} allowed the first one is the default
 */
function setting(name, allowed) {
  const key = `pycalc.${name}`;
  let kept = null;
  try { kept = localStorage.getItem(key); } catch { /* the default will do */ }
  const value = signal(allowed.includes(kept ?? "") ? String(kept) : allowed[0]);
  /** @param {string} wanted */
  const keep = (wanted) => {
    value.value = wanted;
    try { localStorage.setItem(key, wanted); } catch { /* it holds for this page */ }
  };
  return { value, keep };
}

const preferred = navigator.languages.map((tag) => tag.slice(0, 2)).find((tag) => LANGUAGES.includes(tag)) ?? "en";
/** The language of the texts, numbers and dates: `language.value.value`, `language.keep("de")`. */
export const language = setting("language", [preferred, ...LANGUAGES]);
/** "auto", "light" or "dark". */
export const theme = setting("theme", ["auto", "light", "dark"]);
effect(() => { document.documentElement.dataset.theme = theme.value.value; });

/** @type {import("../vendor/preact.js").Signal<Record<string, string | Record<string, string>>>} */
const texts = signal({});
const spoken = signal("en"); // the language of `texts`

async function loadTexts(/** @type {string} */ wanted) {
  const loaded = await import(`./strings/${wanted}.js`);
  texts.value = loaded.default;
  spoken.value = wanted;
  document.documentElement.lang = wanted;
}

/**
 * The text with this key in the chosen language, its `{names}` filled in; a number is written in that language.
 * A text with forms for one and for several is chosen by `values.n`.
 * @param {string} key
 * @param {Record<string, string | number | bigint>} [values]
 */
export function t(key, values = {}) {
  const found = texts.value[key] ?? key;
  const form = new Intl.PluralRules(spoken.value).select(Number(values.n ?? 0));
  const text = typeof found === "string" ? found : found[form] ?? found.other;
  return text.replace(/\{(\w+)\}/g, (_, name) => (typeof values[name] === "string" ? values[name] : number(values[name])));
}

/**
 * A number in the chosen language. A string of digits is too large for a JSON number; it is not rounded either.
 * @param {any} value
 * @param {Intl.NumberFormatOptions} [options]
 * @returns {string}
 */
export function number(value, options) {
  if (typeof value === "string" && !/^-?\d+$/.test(value)) return value;
  return new Intl.NumberFormat(spoken.value, options).format(typeof value === "string" ? BigInt(value) : value);
}

/** A moment (RFC 3339) in the chosen language. @param {string} moment @param {Intl.DateTimeFormatOptions} [options] */
export function when(moment, options = { dateStyle: "medium", timeStyle: "short" }) {
  return new Intl.DateTimeFormat(spoken.value, options).format(new Date(moment));
}

/** A duration to three figures. @param {number} ms */
export function duration(ms) {
  const [value, unit] = ms < 1000 ? [ms, "millisecond"] : [ms / 1000, "second"];
  return number(value, { style: "unit", unit, maximumSignificantDigits: 3 });
}

/**
 * Who is signed in: undefined while this is not known, null for nobody.
 * @typedef {{id: string, username: string, email: string, role: "user" | "admin", [more: string]: any}} User
 * @type {import("../vendor/preact.js").Signal<User | null | undefined>}
 */
export const who = signal(undefined);

/** The address; its query is a page's state. @type {import("../vendor/preact.js").Signal<URL>} */
export const address = signal(new URL(location.href));
/** The members of the address's query. */
export const query = computed(() => address.value.searchParams);

/**
 * Go to an address of the console.
 * @param {string} target
 * @param {{replace?: boolean}} [options] `replace` for a change of state that Back should not undo
 */
export function navigate(target, { replace = false } = {}) {
  const url = new URL(target, location.href);
  if (url.href !== location.href) history[replace ? "replaceState" : "pushState"](null, "", url);
  address.value = url;
}

/** Say something to users of screen readers. @param {string} sentence */
export function announce(sentence) {
  const place = document.getElementById("announcer");
  if (place) place.textContent = sentence;
}

/**
 * What the command palette offers.
 * @typedef {{id: string, title: string, keys?: string, run: () => void}} Command
 * @type {import("../vendor/preact.js").Signal<Command[]>}
 */
export const commands = signal([]);

/** Offer commands as long as the component is there. @param {() => Command[]} make */
export function useCommands(make) {
  useEffect(() => {
    const added = make();
    commands.value = [...commands.peek(), ...added];
    return () => { commands.value = commands.peek().filter((one) => !added.includes(one)); };
  }, [spoken.value]);
}

/** A module that is loaded once it is needed; null before. @param {() => Promise<any>} load @param {boolean} [needed] */
export function useLater(load, needed = true) {
  const part = useSignal(/** @type {any} */ (null));
  useEffect(() => {
    if (needed) load().then((module) => { part.value = module; });
  }, [needed]);
  return part.value;
}

const main = /** @type {HTMLElement} */ (document.getElementById("main"));
/** @type {import("../vendor/preact.js").Signal<{name: string, module?: any, failed?: boolean}>} */
const page = signal({ name: "" });
const name = computed(() => ROUTES[address.value.pathname] ?? "missing");

async function openPage(/** @type {string} */ wanted, /** @type {boolean} */ moved) {
  try {
    const module = await import(`./pages/${wanted}.js`);
    if (wanted !== name.value) return; // the user has gone on meanwhile
    page.value = { name: wanted, module };
  } catch {
    page.value = { name: wanted, failed: true };
  }
  if (moved) requestAnimationFrame(() => /** @type {HTMLElement | null} */ (main.querySelector("h1"))?.focus());
}

function Page() {
  const { name: shown, module, failed } = page.value;
  const access = module?.access;
  if (failed) {
    const again = () => location.reload();
    return html`<h1 tabindex="-1">${t("app.failed")}</h1><p>${t("app.failed-detail")}</p>
      <button class="primary" onClick=${again}>${t("app.again")}</button>`;
  }
  if (!module || (access && who.value === undefined)) return html`<div class="skeleton" aria-busy="true"></div>`;
  if (access && who.value === null) return html`<${Invitation} />`;
  if (access === "admin" && who.value?.role !== "admin") {
    return html`<h1 tabindex="-1">${t(`${shown}.title`)}</h1><p class="lead">${t("app.admins-only")}</p>`;
  }
  return html`<${module.default} key=${access ? `${shown} ${who.value?.id}` : shown} />`;
}

function Invitation() {
  const open = async () => (await import("./parts/sign-in.js")).openSignIn();
  return html`<h1 tabindex="-1">${t(`${page.value.name}.title`)}</h1><p class="lead">${t("app.signed-out")}</p>
    <button class="primary" onClick=${open}>${t("sign-in.title")}</button>`;
}

function follow(/** @type {MouseEvent} */ event) {
  const link = event.target instanceof Element ? event.target.closest("a") : null;
  if (!link || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
  if (link.origin !== location.origin || !(link.pathname in ROUTES) || link.target || link.hasAttribute("download")) return;
  event.preventDefault();
  if (link.getAttribute("href") === "#main") return main.focus(); // the fragment of the address may hold an expression
  navigate(link.href);
  scrollTo(0, 0);
}

const loadFrame = () => import("./frame.js");
let first = true;
await loadTexts(language.value.value);
effect(() => { if (language.value.value !== spoken.peek()) loadTexts(language.value.value); });
if (main.hasAttribute("data-console")) {
  addEventListener("popstate", () => { address.value = new URL(location.href); });
  document.addEventListener("click", follow);
  effect(() => {
    const opened = openPage(name.value, !first);
    if (first) opened.then(() => setTimeout(loadFrame)); // the page can be used before the menu is there
    first = false;
  });
  effect(() => { document.title = `${t(`${name.value}.title`)} · pycalc`; });
  main.replaceChildren();
  render(html`<${Page} />`, main);
} else loadFrame();
