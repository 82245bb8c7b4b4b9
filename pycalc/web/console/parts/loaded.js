// Data of the service that a component shows: while it is loaded, when it is there, and why it is not.

import { html, useEffect, useRef, useSignal } from "../../vendor/preact.js";
import { t } from "../app.js";
import { Problem, requestJson } from "../api.js";
import { ErrorCard, titleOf } from "./error-card.js";
import { toast } from "./toast.js";

/**
 * @template Data
 * @typedef {{data: Data | null, problem: Problem | null, busy: boolean, reload: () => Promise<void>}} Loaded
 *   `data` stays while it is loaded again
 */

/**
 * Load JSON when the component appears, and again when the path changes.
 * @template Data
 * @param {string} path
 * @returns {Loaded<Data>}
 */
export function useLoaded(path) {
  const data = useSignal(/** @type {Data | null} */ (null));
  const problem = useSignal(/** @type {Problem | null} */ (null));
  const busy = useSignal(true);
  const current = useRef(/** @type {AbortController | null} */ (null));
  const load = async () => {
    current.current?.abort(); // an earlier answer that arrives later must not replace this one
    const { signal } = (current.current = new AbortController());
    busy.value = true;
    try {
      data.value = await requestJson(path, { signal });
      problem.value = null;
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof Problem)) throw error;
      problem.value = error;
    } finally {
      if (!signal.aborted) busy.value = false;
    }
  };
  useEffect(() => {
    load();
    return () => current.current?.abort();
  }, [path]);
  return { data: data.value, problem: problem.value, busy: busy.value, reload: load };
}

/**
 * What is loaded, by `children(data)`; before that a skeleton, or the error with a way to try again.
 * @param {{loaded: Loaded<any>, children: (data: any) => any}} props
 */
export function Shown({ loaded, children }) {
  const { data, problem, reload } = loaded;
  return html`${problem && html`<${ErrorCard} problem=${problem} onRetry=${reload} />`}
    ${data !== null ? children(data)
      : !problem && html`<div class="skeleton" aria-busy="true" aria-label=${t("app.loading")}></div>`}`;
}

/**
 * Do something that the service may refuse; `onProblem` shows the reason, by default as a message.
 * @param {() => Promise<unknown>} work
 * @param {(problem: Problem) => void} [onProblem]
 */
export async function attempt(work, onProblem = (problem) => toast(titleOf(problem))) {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    onProblem(error);
  }
}
