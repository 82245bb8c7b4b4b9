// How many calculations are new since the list was read, told by the service's event stream.

import { html, useEffect, useSignal } from "../../vendor/preact.js";
import { t } from "../app.js";
import { follow } from "./stream.js";

const LONGEST_MEMORY = 500;

/**
 * Count the events of calculations that `wanted` accepts, each once: events arrive at least once.
 * @param {(item: any) => boolean} wanted
 * @param {unknown} origin counting starts again when it changes
 */
function useNewItems(wanted, origin) {
  const fresh = useSignal(0);
  const state = useSignal("waiting");
  useEffect(() => {
    fresh.value = 0;
    const stop = new AbortController();
    const seen = new Set();
    const onEvent = (/** @type {string} */ text) => {
      const { id, data } = JSON.parse(text);
      if (seen.has(id) || !data || !wanted(data)) return;
      seen.add(id);
      if (seen.size > LONGEST_MEMORY) seen.delete(seen.values().next().value);
      fresh.value += 1;
    };
    follow("/events", { onEvent, signal: stop.signal, onState: (now) => { if (!stop.signal.aborted) state.value = now; } });
    return () => stop.abort();
  }, [origin]);
  return { fresh, state: state.value };
}

/** A mark whether the list is live, and a button that shows what is new. Rows change only when it is pressed.
 * @param {{wanted: (item: any) => boolean, origin: unknown, onShow: () => Promise<void>}} props */
export function Live({ wanted, origin, onShow }) {
  const { fresh, state } = useNewItems(wanted, origin);
  const show = async () => {
    fresh.value = 0;
    await onShow();
  };
  return html`<div class="row live"><span class=${`dot ${state}`} aria-hidden="true"></span>
    <span class="hint">${t(`history.${state}`)}</span>
    <span role="status">${fresh.value > 0 && html`<button type="button" class="chip" onClick=${show}>${t("history.new", { n: fresh.value })}</button>`}</span></div>`;
}
