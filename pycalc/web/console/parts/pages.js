// Lists that the service gives in pages: the rows read so far, and a button for the next ones.

import { html, useEffect, useSignal } from "../../vendor/preact.js";
import { announce, t } from "../app.js";
import { Problem, requestJson } from "../api.js";
import { ErrorCard } from "./error-card.js";

/**
 * @template Row
 * @typedef {{rows: Row[] | null, next: string | null, problem: Problem | null, reload: () => Promise<void>, more: () => Promise<void>}} Pages
 *   `rows` is null while the first page is read
 */

/**
 * Read the first page when the component appears, and again when the path changes.
 * @template Row
 * @param {string} path with its query
 * @returns {Pages<Row>}
 */
export function usePages(path) {
  const rows = useSignal(/** @type {Row[] | null} */ (null));
  const next = useSignal(/** @type {string | null} */ (null));
  const problem = useSignal(/** @type {Problem | null} */ (null));
  const read = async (/** @type {string | null} */ cursor, /** @type {AbortSignal | undefined} */ signal = undefined) => {
    problem.value = null;
    try {
      const page = await requestJson(cursor ? `${path}&cursor=${encodeURIComponent(cursor)}` : path, { signal });
      rows.value = cursor ? [...(rows.peek() ?? []), ...page.items] : page.items;
      next.value = page.next_cursor;
    } catch (error) {
      if (error instanceof Problem) problem.value = error;
      else if (!signal?.aborted) throw error;
    }
  };
  useEffect(() => {
    rows.value = null;
    const stop = new AbortController();
    read(null, stop.signal);
    return () => stop.abort();
  }, [path]);
  const more = async () => {
    const before = rows.peek()?.length ?? 0;
    await read(next.peek());
    announce(t("app.more-read", { n: (rows.peek()?.length ?? 0) - before }));
  };
  return { rows: rows.value, next: next.value, problem: problem.value, reload: () => read(null), more };
}

/** The rows by `children(rows)`, an error with a way to try again, and the button for the next page.
 * @param {{pages: Pages<any>, children: (rows: any[] | null) => any}} props */
export function More({ pages, children }) {
  const { rows, next, problem, reload, more } = pages;
  return html`${problem && html`<${ErrorCard} problem=${problem} onRetry=${rows === null ? reload : more} />`}
    ${!(problem && rows === null) && children(rows)}
    ${next && html`<button type="button" class="quiet" onClick=${more}>${t("app.more")}</button>`}`;
}
