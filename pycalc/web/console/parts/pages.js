// Lists that the service gives in pages: the rows read so far, and a button for the next ones.

import { html, useEffect, useRef, useSignal } from "../../vendor/preact.js";
import { announce, t } from "../app.js";
import { Problem, requestJson } from "../api.js";
import { ErrorCard } from "./error-card.js";

/**
 * @template Row
 * @typedef {{rows: Row[] | null, next: string | null, problem: Problem | null, reload: () => Promise<void>, more: () => Promise<void>,
 *   retry: () => Promise<void>}} Pages
 *   `rows` is null while the first page is read; `reload` reads as many rows again, up to 1,000; `retry` reads what failed
 */

const MOST_ROWS = 1_000; // in one page of the service

/**
 * Read the first page when the component appears, and again when the path changes.
 * @template Row
 * @param {string} path with its query, which has a `limit`
 * @returns {Pages<Row>}
 */
export function usePages(path) {
  const rows = useSignal(/** @type {Row[] | null} */ (null));
  const next = useSignal(/** @type {string | null} */ (null));
  const problem = useSignal(/** @type {Problem | null} */ (null));
  const current = useRef(/** @type {AbortController | null} */ (null));
  const retry = useRef(async () => {});
  const read = async (/** @type {string} */ from, /** @type {Row[]} */ before) => {
    current.current?.abort(); // an earlier answer that arrives later must not change this list
    const stop = (current.current = new AbortController());
    retry.current = () => read(from, before);
    problem.value = null;
    try {
      const page = await requestJson(from, { signal: stop.signal });
      rows.value = [...before, ...page.items];
      next.value = page.next_cursor;
    } catch (error) {
      if (stop.signal.aborted) return;
      if (!(error instanceof Problem)) throw error;
      problem.value = error;
    } finally {
      if (current.current === stop) current.current = null;
    }
  };
  useEffect(() => {
    rows.value = null;
    next.value = null;
    read(path, []);
    return () => current.current?.abort();
  }, [path]);
  const reload = () => {
    const shown = Math.min(rows.peek()?.length ?? 0, MOST_ROWS);
    return read(path.replace(/\blimit=(\d+)/, (_, limit) => `limit=${Math.max(shown, limit)}`), []);
  };
  const more = async () => {
    if (current.current) return; // a second press would add the same rows again
    const before = rows.peek() ?? [];
    await read(`${path}&cursor=${encodeURIComponent(next.peek() ?? "")}`, before);
    announce(t("app.more-read", { n: (rows.peek()?.length ?? 0) - before.length }));
  };
  return { rows: rows.value, next: next.value, problem: problem.value, reload, more, retry: () => retry.current() };
}

/** The rows by `children(rows)`, an error with a way to try again, and the button for the next page.
 * @param {{pages: Pages<any>, children: (rows: any[] | null) => any}} props */
export function More({ pages, children }) {
  const { rows, next, problem, more, retry } = pages;
  return html`${problem && html`<${ErrorCard} problem=${problem} onRetry=${retry} />`}
    ${!(problem && rows === null) && children(rows)}
    ${next && html`<button type="button" class="quiet" onClick=${more}>${t("app.more")}</button>`}`;
}
