// The page Batch: many calculations at once, from lines or CSV.

import { html, signal, useSignal } from "../../vendor/preact.js";
import { announce, t } from "../app.js";
import { Problem } from "../api.js";
import { parse } from "../batch/parse.js";
import { Results } from "../batch/results.js";
import { send } from "../batch/send.js";
import { loadOperations } from "../calculate/operations.js";
import { ErrorCard } from "../parts/error-card.js";
import { attempt } from "../parts/loaded.js";

export const access = "user";

const EXAMPLE = "2^64 - 1\nfibonacci(1000)\npow,3,1000,mod=97\nfactorial,500\nisprime(2^61 - 1)";

// Outside the component, so that a visit to another page loses nothing.
const text = signal("");
const rows = signal(/** @type {import("../batch/send.js").Answered[]} */ ([]));
const progress = signal(/** @type {{done: number, total: number, waiting: number} | null} */ (null));
const version = signal(0);
let stop = new AbortController();

addEventListener("otheruser", () => {
  stop.abort();
  text.value = "";
  rows.value = [];
});

/** Send the rows that have no error and no answer yet. */
async function sendRows() {
  const open = rows.value.filter(({ item, answer }) => item && !answer);
  stop = new AbortController();
  progress.value = { done: 0, total: open.length, waiting: 0 };
  const tell = (/** @type {number} */ done) => {
    progress.value = { done, total: open.length, waiting: 0 };
    version.value += 1;
    announce(t("batch.progress", { done, n: open.length }));
  };
  const waiting = (/** @type {number} */ seconds) => {
    if (progress.value) progress.value = { ...progress.value, waiting: seconds };
    announce(t("problem.wait", { n: seconds }));
  };
  try {
    await send(open, stop.signal, { told: tell, waiting });
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    announce(t("batch.cancelled"));
  } finally {
    progress.value = null;
  }
}

function Progress() {
  if (!progress.value) return null;
  const { done, total, waiting } = progress.value;
  const cancel = () => {
    stop.abort();
    document.getElementById("batch-lines")?.focus();
  };
  return html`<div class="progress"><progress max=${total} value=${done} aria-label=${t("app.loading")} />
    <span class="hint">${t("batch.progress", { done, n: total })}${waiting > 0 ? ` ${t("batch.throttled", { n: waiting })}` : ""}</span>
    <button type="button" class="quiet" onClick=${cancel}>${t("app.cancel")}</button></div>`;
}

export default function Batch() {
  const problem = useSignal(/** @type {Problem | null} */ (null));
  const over = useSignal(false);
  const refused = (/** @type {Problem} */ error) => { problem.value = error; };
  const calculate = (/** @type {Event | undefined} */ event = undefined) => {
    event?.preventDefault();
    if (progress.value) return;
    problem.value = null;
    attempt(async () => {
      const wanted = parse(text.value, await loadOperations());
      const earlier = rows.value.map((row) => `${row.line} ${row.text}`).join("\n");
      const same = wanted.map((row) => `${row.line} ${row.text}`).join("\n") === earlier && rows.value.some(({ item, answer }) => item && !answer);
      if (!same) rows.value = wanted; // otherwise what was cancelled goes on
      const wrong = rows.value.find(({ error }) => error);
      if (wrong) announce(t("batch.line-error", { n: wrong.line, error: wrong.error ?? "" }));
      await sendRows();
    }, refused);
  };
  const take = async (/** @type {File | undefined} */ file) => { if (file) text.value = await file.text(); };
  const pick = (/** @type {any} */ { currentTarget: input }) => {
    take(input.files[0]);
    input.value = ""; // so that the same file can be chosen again once it has changed
  };
  const dragOver = (/** @type {DragEvent} */ event) => {
    if (!event.dataTransfer?.types.includes("Files")) return; // text goes to the place where it is dropped
    event.preventDefault();
    over.value = true;
  };
  const drop = (/** @type {DragEvent} */ event) => {
    over.value = false;
    const file = event.dataTransfer?.files[0];
    if (!file) return;
    event.preventDefault();
    take(file);
  };
  const onKey = (/** @type {KeyboardEvent} */ event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) calculate(event); };
  const wrong = rows.value.filter(({ error }) => error);
  return html`<h1 tabindex="-1">${t("batch.title")}</h1><p class="lead">${t("batch.lead")}</p>
    <form class="card" onSubmit=${calculate}><div class="field"><label for="batch-lines">${t("batch.lines")}</label>
      <textarea id="batch-lines" class=${over.value ? "mono lines over" : "mono lines"} rows="8" data-slash spellcheck=${false} autocapitalize="off"
        placeholder=${EXAMPLE} value=${text.value} onKeyDown=${onKey} aria-describedby="batch-hint"
        onDragOver=${dragOver} onDragLeave=${() => { over.value = false; }} onDrop=${drop}
        onInput=${(/** @type {any} */ event) => { text.value = event.currentTarget.value; }}></textarea>
      <p class="hint" id="batch-hint">${t("batch.hint")}</p></div>
      <div class="row"><button type="submit" class="primary" aria-disabled=${progress.value !== null}>${t("batch.action")}</button>
        <label class="button quiet file">${t("batch.file")}<input type="file" accept=".txt,.csv,text/plain,text/csv" class="offscreen"
          onChange=${pick} /></label>
        <button type="button" class="quiet" onClick=${() => { text.value = EXAMPLE; }}>${t("batch.example")}</button>
        <span class="spring"></span><span class="hint">${t("batch.count", { n: text.value.split("\n").filter((line) => line.trim() !== "").length })}</span></div></form>
    ${wrong.length > 0 && html`<div class="error-card" role="alert"><p class="error-title">${t("batch.wrong", { n: wrong.length })}</p>
      <ul>${wrong.slice(0, 5).map(({ line, error }) => html`<li key=${line}>${t("batch.line-error", { n: line, error: error ?? "" })}</li>`)}</ul></div>`}
    ${problem.value && html`<${ErrorCard} problem=${problem.value} onRetry=${() => calculate()} />`}
    <${Progress} />
    ${rows.value.length > 0 && html`<${Results} rows=${rows.value} version=${version.value} />`}`;
}
