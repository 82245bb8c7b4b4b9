// The live events: a short list, newest first, fed by the stream.

import { byId, element, count } from "./dom.js";
import { brief, moment } from "./history.js";
import { session } from "./http.js";
import { notation } from "./operations.js";
import { follow } from "./stream.js";

const LONGEST_LIST = 30;
const LONGEST_MEMORY = 500;
const STATES = { connecting: "Connecting…", live: "Live", waiting: "Reconnecting…", stopped: "Stopped" };

const list = byId("event-list");
let connection = null;

function entry(item) {
  const heading = element("span", { class: "mono" }, notation(item.operation, item.input));
  const digits = item.digits === 1 ? "1 digit" : `${count(item.digits)} digits`;
  const user = session.user?.role === "admin" && item.user ? String(item.user) : null;
  const about = [digits, item.cached ? "cached" : null, user].filter(Boolean).join(" · ");
  return element(
    "li", {},
    element("div", { class: "row" }, heading, element("span", { class: "spring" }), moment(item)),
    element("div", { class: "mono value" }, brief(item)),
    element("div", { class: "hint" }, about),
  );
}

function parse(event) {
  try {
    const { id, data } = JSON.parse(event.data);
    return data && data.operation ? { id, item: data } : null;
  } catch {
    return null;
  }
}

/** Delivery is at least once: an event that was seen already is dropped by its id. */
function remember(seen, id) {
  if (id === undefined) return true;
  if (seen.has(id)) return false;
  seen.add(id);
  if (seen.size > LONGEST_MEMORY) seen.delete(seen.values().next().value);
  return true;
}

function show(item) {
  list.prepend(entry(item));
  while (list.children.length > LONGEST_LIST) list.lastElementChild.remove();
  byId("event-empty").hidden = true;
}

function showState(state) {
  const place = byId("event-state");
  place.textContent = STATES[state];
  place.dataset.state = state;
}

/** Follows the caller's events until `stopEvents`; `onNew` is called for each one. */
export function startEvents(onNew) {
  stopEvents();
  connection = new AbortController();
  const { signal } = connection;
  const seen = new Set();
  const onEvent = (event) => {
    const told = parse(event);
    if (signal.aborted || told === null || !remember(seen, told.id)) return;
    show(told.item);
    onNew();
  };
  follow("/events", { onEvent, signal, onState: (state) => { if (!signal.aborted) showState(state); } });
}

export function stopEvents() {
  connection?.abort();
  connection = null;
  list.replaceChildren();
  byId("event-empty").hidden = false;
  showState("stopped");
}
