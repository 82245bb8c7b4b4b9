// The frame of every page: the header's texts, the menu, the keyboard, and the session.

import { effect, html, render } from "../vendor/preact.js";
import { address, commands, language, navigate, t, theme, who } from "./app.js";
import { Toasts, toast } from "./parts/toast.js";
import { resume, signOut } from "./session.js";

// Dialogs are loaded when they are opened.
const openPalette = async () => (await import("./parts/palette.js")).openPalette();
const openSignIn = async () => (await import("./parts/sign-in.js")).openSignIn();

/** @param {{label: string, setting: typeof theme, options: string[], texts: (value: string) => string}} props */
function Choice({ label, setting, options, texts }) {
  const change = (/** @type {any} */ event) => setting.keep(event.currentTarget.value);
  return html`<label class="choice"><span>${label}</span><select value=${setting.value.value} onChange=${change}>
    ${options.map((value) => html`<option key=${value} value=${value}>${texts(value)}</option>`)}</select></label>`;
}

function Menu() {
  const user = who.value;
  const close = () => document.getElementById("menu")?.hidePopover();
  const act = (/** @type {() => unknown} */ work) => () => { close(); work(); };
  return html`<div id="menu" popover class="menu">
    ${user && html`<p class="menu-user"><strong>${user.username}</strong> <span class="chip">${t(`role.${user.role}`)}</span></p>
      <a href="/console/account" onClick=${close}>${t("account.title")}</a>
      ${user.role === "admin" && html`<a href="/console/admin" onClick=${close}>${t("admin.title")}</a>`}`}
    <${Choice} label=${t("menu.language")} setting=${language} options=${["en", "de"]} texts=${(/** @type {string} */ value) => t(`language.${value}`)} />
    <${Choice} label=${t("menu.theme")} setting=${theme} options=${["auto", "light", "dark"]} texts=${(/** @type {string} */ value) => t(`theme.${value}`)} />
    <button type="button" onClick=${act(openPalette)}>${t("palette.title")} <kbd>${t("palette.keys")}</kbd></button>
    ${user && html`<button type="button" onClick=${act(signOut)}>${t("menu.sign-out")}</button>`}
  </div>`;
}

function Tools() {
  const user = who.value;
  return html`
    ${user === null && html`<button type="button" class="quiet" onClick=${openSignIn}>${t("sign-in.title")}</button>`}
    <button type="button" class="quiet menu-button" popovertarget="menu" aria-haspopup="true">
      ${user ? html`<span class="name">${user.username}</span>` : t("menu.title")}<span aria-hidden="true"> ▾</span></button>
    <${Menu} />`;
}

/** The commands that every page has. */
function common() {
  const pages = [["/", "calculate"], ["/console/batch", "batch"], ["/console/history", "history"], ["/console/usage", "usage"],
    ["/console/developers", "developers"], ["/console/account", "account"], ["/console/admin", "admin"]];
  const allowed = pages.filter(([, name]) => name !== "admin" || who.value?.role === "admin");
  const go = (/** @type {string} */ path) => () => {
    if (document.getElementById("main")?.hasAttribute("data-console")) navigate(path);
    else location.assign(path);
  };
  const session = who.value
    ? { id: "sign-out", title: t("menu.sign-out"), run: signOut }
    : { id: "sign-in", title: t("sign-in.title"), run: openSignIn };
  return [
    ...allowed.map(([path, name]) => ({ id: name, title: t(`${name}.title`), run: go(path) })),
    ...["/docs", "/redoc", "/guide", "/docs/problems"].map((path) => (
      { id: path, title: t(`nav.${path}`), run: () => location.assign(path) })),
    session,
  ];
}

/** @param {KeyboardEvent} event */
function onKey(event) {
  const typing = event.target instanceof Element && event.target.matches("input, textarea, select, [contenteditable]");
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    event.preventDefault();
    openPalette();
  } else if (!typing && !event.ctrlKey && !event.metaKey && !event.altKey && event.key === "?") openPalette();
  else if (!typing && event.key === "/" && !document.querySelector("dialog[open]")) {
    const field = /** @type {HTMLElement | null} */ (document.querySelector("[data-slash]"));
    if (!field) return;
    event.preventDefault();
    field.focus();
  }
}

/** Scroll a row of links sideways to this one, where the screen is too narrow for all. @param {HTMLElement} link */
function showLink(link) {
  const row = /** @type {HTMLElement} */ (link.parentElement);
  row.scrollLeft = link.offsetLeft - row.offsetLeft - (row.clientWidth - link.offsetWidth) / 2;
}

const host = /** @type {HTMLElement} */ (document.getElementById("tools"));
host.replaceChildren();
render(html`<${Tools} />`, host);
const toasts = document.createElement("div");
document.body.append(toasts);
render(html`<${Toasts} />`, toasts);
document.addEventListener("keydown", onKey);
// Such as a dialog whose module could not be loaded: a button that does nothing would explain nothing.
addEventListener("unhandledrejection", () => toast(t("app.fault"), { retry: () => location.reload(), action: t("app.reload") }));
effect(() => {
  for (const node of document.querySelectorAll("[data-t]")) node.textContent = t(/** @type {HTMLElement} */ (node).dataset.t ?? "");
  for (const node of document.querySelectorAll("[data-t-label]")) {
    node.setAttribute("aria-label", t(/** @type {HTMLElement} */ (node).dataset.tLabel ?? ""));
  }
});
effect(() => {
  for (const link of document.querySelectorAll(".bar a, .subnav a")) {
    const { pathname } = new URL(/** @type {HTMLAnchorElement} */ (link).href);
    const section = pathname === "/docs" && document.querySelector(".subnav") !== null && link.closest(".bar") !== null;
    const current = pathname === address.value.pathname ? "page" : section ? "true" : null;
    if (current) {
      link.setAttribute("aria-current", current);
      showLink(/** @type {HTMLElement} */ (link));
    } else link.removeAttribute("aria-current");
  }
});
let offered = /** @type {import("./app.js").Command[]} */ ([]);
effect(() => {
  const now = common();
  commands.value = [...now, ...commands.peek().filter((one) => !offered.includes(one))];
  offered = now;
});
resume();
const refusal = /^sign-in-(refused|last-admin|limited|unavailable)$/.exec(address.value.searchParams.get("error") ?? "");
if (refusal) { // the identity provider's callback comes back with it
  navigate(address.value.pathname, { replace: true });
  toast(t(`session.provider-${refusal[1]}`));
}
const RESET = "#password-reset=";
async function openResetLink() {
  if (!location.hash.startsWith(RESET)) return;
  const token = location.hash.slice(RESET.length);
  navigate(location.pathname, { replace: true }); // the token stays neither on the screen nor in the history
  (await import("./parts/sign-in.js")).openReset(token);
}
addEventListener("hashchange", openResetLink); // the link may be opened in a tab that has the page already
openResetLink();
