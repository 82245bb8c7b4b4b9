// The history: one page at a time, by the service's own cursors.

import { download, offers, reuse } from "./calculator.js";
import { reasonOf, textOf } from "./digits.js";
import { byId, count, duration, element, hide, showProblem } from "./dom.js";
import { Problem, authorized, readJson, session } from "./http.js";
import { notation } from "./operations.js";

const PAGE_SIZE = 10;
const SHORTEST_PAUSE_MS = 500;

const WHOLE_MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const TIME_OF_DAY = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const END_SHOWN = 8;
const rows = byId("history-rows");
const problem = byId("history-problem");

// cursors[k] leads to page k; the newest page needs none.
let cursors = [null];
let page = 0;
let loading = null;
let again = false;

/** An item's value in short: the whole of a short one, the two ends of a long one. */
export function brief(item) {
  const known = item.result !== null && item.result !== undefined;
  const [first, last] = known ? [textOf(item.result), textOf(item.result)] : [item.leading, item.trailing];
  if (known && first.length <= 2 * END_SHOWN + 4) return first;
  return `${first.slice(0, END_SHOWN)}…${last.slice(-END_SHOWN)}`;
}

/** When the item was made, in the reader's own time zone; the date is left out today. */
export function moment(item) {
  const date = new Date(item.created_at);
  if (Number.isNaN(date.valueOf())) return element("span", {}, String(item.created_at ?? ""));
  const format = date.toDateString() === new Date().toDateString() ? TIME_OF_DAY : WHOLE_MOMENT;
  return element("time", { datetime: item.created_at, title: WHOLE_MOMENT.format(date) }, format.format(date));
}

function downloadButton(item) {
  const button = element("button", { type: "button", class: "link" }, "Download");
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await download(item);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      showProblem(problem, error);
    } finally {
      button.disabled = false;
    }
  });
  return button;
}

function row(item, admin) {
  const reuseButton = element("button", { type: "button", class: "link", click: () => reuse(item) }, "Use again");
  const whole = item.result !== null && item.result !== undefined;
  const actions = offers(item.operation) ? [reuseButton, whole ? null : downloadButton(item)].filter(Boolean) : [];
  const cached = item.cached ? element("span", { class: "chip" }, "cached") : null;
  const inexact = item.exact === false ? element("span", { class: "chip warn" }, reasonOf(item)) : null;
  const cell = (kind, ...children) => element("td", { role: "cell", class: kind }, ...children);
  return element(
    "tr", { role: "row" },
    cell("mono calculation", notation(item.operation, item.input)),
    cell("mono value", brief(item)),
    cell("number digit-count", count(item.digits)),
    cell("number took", duration(item.elapsed_ms)),
    cell("marks", cached, inexact),
    admin ? cell("user", String(item.user ?? "")) : null,
    cell("when", moment(item)),
    cell("actions", ...actions),
  );
}

function show({ items, next_cursor: next, role }) {
  const admin = role === "admin";
  byId("history-title").textContent = admin ? "Everyone’s history" : "Your history";
  byId("history-user").hidden = !admin;
  rows.replaceChildren(...items.map((item) => row(item, admin)));
  byId("history-empty").hidden = items.length > 0 || page > 0;
  byId("history-table").hidden = items.length === 0;
  cursors = [...cursors.slice(0, page + 1), ...(next ? [next] : [])];
  byId("newer").disabled = page === 0;
  byId("older").disabled = !next;
  byId("pager").hidden = page === 0 && !next;
  byId("page-number").textContent = `Page ${page + 1}`;
}

async function load() {
  const cursor = cursors[page];
  const query = cursor ? `&cursor=${encodeURIComponent(cursor)}` : "";
  try {
    const answer = await readJson(await authorized(`/secure-history?limit=${PAGE_SIZE}${query}`));
    if (!session.active) return;
    hide(problem);
    show(answer);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (session.active) showProblem(problem, error);
  }
}

/** Reads the current page again. Calls while a reading is under way are answered by one more reading after it. */
export async function refresh() {
  if (loading) {
    again = true;
    return;
  }
  loading = load();
  try {
    await loading;
  } finally {
    loading = null;
    if (again) {
      again = false;
      setTimeout(() => { if (session.active) refresh(); }, SHORTEST_PAUSE_MS);
    }
  }
}

/** Something new was calculated: the newest page shows it, an older one stays as it is. */
export function refreshNewest() {
  if (page === 0) refresh();
}

async function turn(step) {
  await loading;
  page = Math.min(Math.max(page + step, 0), cursors.length - 1);
  await refresh();
  byId("history-title").focus();
}

export function clearHistory() {
  cursors = [null];
  page = 0;
  rows.replaceChildren();
  hide(problem);
}

export function prepareHistory() {
  byId("newer").addEventListener("click", () => turn(-1));
  byId("older").addEventListener("click", () => turn(1));
  byId("history-refresh").addEventListener("click", refresh);
}
