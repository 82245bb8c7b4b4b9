// The export of a whole list, streamed by the service, with progress and a way to stop it.

import { html, useSignal } from "../../vendor/preact.js";
import { announce, t } from "../app.js";
import { Problem, request } from "../api.js";
import { bytesText } from "./bytes.js";
import { saveBlob } from "./clipboard.js";
import { titleOf } from "./error-card.js";
import { toast } from "./toast.js";

const FORMATS = [["CSV", "text/csv", "csv"], ["NDJSON", "application/x-ndjson", "ndjson"]];

/** @param {{path: string, name?: string}} props `name` is the file's, without its ending */
export function Export({ path, name: file = "history" }) {
  const running = useSignal(/** @type {AbortController | null} */ (null));
  const done = useSignal(0);
  const start = async (/** @type {string} */ type, /** @type {string} */ extension) => {
    const stop = new AbortController();
    running.value = stop;
    done.value = 0;
    try {
      const answer = await request(path, { accept: type, signal: stop.signal });
      const count = new TransformStream({ transform(part, out) {
        done.value += part.byteLength;
        out.enqueue(part);
      } });
      saveBlob(await new Response(/** @type {ReadableStream} */ (answer.body).pipeThrough(count), { headers: { "Content-Type": type } }).blob(), `${file}.${extension}`);
      announce(t("app.exported"));
    } catch (error) {
      if (stop.signal.aborted) return;
      toast(error instanceof Problem ? titleOf(error) : t("problem.unusable"));
    } finally {
      running.value = null;
    }
  };
  if (running.value) {
    return html`<span class="hint">${t("app.exporting", { size: bytesText(done.value) })}</span>
      <button type="button" class="quiet" onClick=${() => running.value?.abort()}>${t("app.cancel")}</button>`;
  }
  return FORMATS.map(([name, type, extension]) => html`<button type="button" class="quiet" key=${name}
    onClick=${() => start(type, extension)}>${t("app.export", { format: name })}</button>`);
}
