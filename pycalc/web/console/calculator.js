// Choosing an operation and its operands, asking the service, showing the result.

import {
  byId, clearFields, complete, copyButton, count, duration, element, field, hide, markField, saveBlob, showProblem,
} from "./dom.js";
import { LONGEST_SHOWN, reasonOf, showDigits, showEnds, textOf } from "./digits.js";
import { Problem, authorized, readJson } from "./http.js";
import { exampleFor, formula, notation, pathOf } from "./operations.js";

const TICK_MS = 100;

let operations = [];
let chosen = null;
let running = null;
const entered = new Map();

const form = byId("calculate-form");
const fields = byId("operands");
const options = byId("options");
const outcome = byId("outcome");
const progress = byId("progress");

/** The arguments as they stand in the form, every one as text. */
function values() {
  const names = [...chosen.operands, ...chosen.options].map(({ name }) => name);
  return Object.fromEntries(names.map((name) => [name, form.elements.namedItem(name).value.trim()]));
}

/** False, with a mark, if an operand would change the path itself: browsers resolve "." and ".." in addresses. */
function addressable() {
  const dots = chosen.operands.filter(({ name }) => /^\.{1,2}$/.test(values()[name]));
  for (const { name } of dots) markField(form, name, "Not a number.");
  return dots.length === 0;
}

function inputFor(argument) {
  const kept = entered.get(chosen.name)?.[argument.name] ?? exampleFor(chosen, argument);
  if (argument.choices) {
    const blank = argument.required ? [] : [element("option", { value: "" }, "not set")];
    const select = element("select", {}, ...blank, ...argument.choices.map((choice) => element("option", {}, choice)));
    if (kept) select.value = kept;
    return select;
  }
  const input = element("input", {
    type: "text", autocomplete: "off", autocapitalize: "off", spellcheck: "false", class: "mono",
    inputmode: argument.numeric ? "numeric" : null, required: argument.required, placeholder: argument.preset || null,
  });
  input.value = kept;
  return input;
}

function fieldFor(argument) {
  const { name } = argument;
  return field({ id: `argument-${name}`, name, label: name, hint: argument.description, input: inputFor(argument) });
}

function choose(operation) {
  if (chosen && chosen !== operation) entered.set(chosen.name, values());
  chosen = operation;
  fields.replaceChildren(...operation.operands.map(fieldFor));
  options.hidden = operation.options.length === 0;
  options.querySelector(".fields").replaceChildren(...operation.options.map(fieldFor));
  options.open = operation.options.some(({ name }) => form.elements.namedItem(name).value !== "");
  byId("operation-about").textContent = operation.about;
  showRequest();
}

function showRequest() {
  const url = `${location.origin}${pathOf(chosen, values())}`;
  byId("curl-call").textContent = `curl -H "Authorization: Bearer $TOKEN" '${url.replaceAll("'", "%27")}'`;
}

function filename(operation, input) {
  const name = [operation, ...Object.values(input)].join("-").replace(/[^A-Za-z0-9.+-]+/g, "_");
  return `${name.slice(0, 80)}.txt`;
}

/** The facts about a calculation as badges and short texts. */
function facts(calculation) {
  const { digits, exact, cached } = calculation;
  return [
    element("span", { class: "fact" }, digits === 1 ? "1 digit" : `${count(digits)} digits`),
    exact === true ? element("span", { class: "chip" }, "exact") : null,
    exact === false ? element("span", { class: "chip warn" }, reasonOf(calculation)) : null,
    cached ? element("span", { class: "chip" }, "cached") : null,
    element("span", { class: "fact" }, duration(calculation.elapsed_ms)),
  ].filter(Boolean);
}

function showResult(calculation) {
  const title = notation(calculation.operation, calculation.input);
  const known = calculation.result !== undefined && calculation.result !== null;
  const text = known ? textOf(calculation.result) : "";
  const isNumber = ["number", "string"].includes(typeof calculation.result);
  const omitted = (left) => `… ${count(left)} more characters: copy or download the whole result …`;
  const whole = isNumber ? showDigits(text, omitted) : [element("div", { class: "digits" }, text)];
  const shown = known ? whole : showEnds(calculation);
  const save = element("button", { type: "button", class: "quiet" }, "Download");
  save.addEventListener("click", () => {
    saveBlob(new Blob([text], { type: "text/plain" }), filename(calculation.operation, calculation.input));
  });
  const actions = known ? [copyButton("Copy", () => text), save] : [];
  outcome.replaceChildren(
    element("h2", { class: "mono" }, `${title} =`),
    element("div", { id: "result", tabindex: "0", role: "group", "aria-label": `Result of ${title}` }, ...shown),
    element("div", { class: "row" }, ...facts(calculation), element("span", { class: "spring" }), ...actions),
  );
  outcome.hidden = false;
  const size = text.length > LONGEST_SHOWN ? "; only its ends are shown" : "";
  byId("announcement").textContent = `${title}: ${count(calculation.digits)} digits${size}.`;
}

function showRunning(on) {
  byId("calculate").disabled = on;
  byId("cancel").hidden = !on;
  progress.textContent = "";
  if (!on) return () => {};
  const started = performance.now();
  const tick = () => { progress.textContent = `Computing… ${((performance.now() - started) / 1000).toFixed(1)} s`; };
  const timer = setInterval(tick, TICK_MS);
  return () => clearInterval(timer);
}

async function calculate(onDone) {
  const problem = byId("calculate-problem");
  clearFields(form);
  hide(problem);
  if (!complete(form) || !addressable()) return;
  running = new AbortController();
  const stopClock = showRunning(true);
  try {
    const answer = await authorized(pathOf(chosen, values()), { signal: running.signal });
    showResult(await readJson(answer));
    onDone();
  } catch (error) {
    hide(outcome);
    if (error instanceof Problem) showProblem(problem, error, form);
    else if (error.name !== "AbortError") throw error;
  } finally {
    stopClock();
    showRunning(false);
    running = null;
  }
}

/** Saves the bare digits of a calculation whose value this page does not have: the service makes it again. */
export async function download({ operation, input }) {
  const found = operations.find(({ name }) => name === operation);
  const texts = Object.fromEntries(Object.entries(input).map(([name, value]) => [name, String(value)]));
  const answer = await authorized(pathOf(found, texts), { accept: "text/plain, application/json;q=0.1" });
  const bare = answer.headers.get("Content-Type")?.startsWith("text/plain");
  const digits = bare ? await answer.blob() : new Blob([textOf((await readJson(answer)).result)], { type: "text/plain" });
  saveBlob(digits, filename(operation, input));
}

/** True if `operation` is one that this service offers. */
export const offers = (operation) => operations.some(({ name }) => name === operation);

/** Puts a former calculation's operation and arguments into the form. */
export function reuse({ operation, input }) {
  byId(`operation-${operation}`).checked = true;
  const texts = Object.fromEntries(Object.entries(input).map(([name, value]) => [name, String(value)]));
  chosen = null;
  entered.set(operation, texts);
  choose(operations.find(({ name }) => name === operation));
  form.scrollIntoView({ block: "center" });
  byId("calculate").focus({ preventScroll: true });
}

/** Empties what belongs to the session that ended. */
export function clearCalculator() {
  running?.abort();
  hide(outcome);
  hide(byId("calculate-problem"));
  byId("announcement").textContent = "";
}

/** Offers `offered`; `onDone` is called after each answered calculation. */
export function prepareCalculator(offered, onDone) {
  operations = offered;
  const radios = operations.map((operation, index) => {
    const id = `operation-${operation.name}`;
    const radio = element("input", { type: "radio", name: "operation", id, value: operation.name, checked: index === 0 });
    radio.addEventListener("change", () => choose(operation));
    const written = element("span", { class: "formula", "aria-hidden": "true" }, formula(operation));
    return element("label", { for: id }, radio, element("span", { class: "name" }, operation.name), written);
  });
  byId("operations").replaceChildren(...radios);
  choose(operations[0]);
  form.addEventListener("input", showRequest);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!running) calculate(onDone);
  });
  byId("cancel").addEventListener("click", () => running?.abort());
}
