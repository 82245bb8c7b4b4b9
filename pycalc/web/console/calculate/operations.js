// The operations of the service: chips to choose from, and a form for the chosen one, made from the OpenAPI document.

import { html, useEffect, useSignal } from "../../vendor/preact.js";
import { language, t } from "../app.js";
import { Problem, anonymous, readJson } from "../api.js";
import { ask, asked, calculate, state } from "../pages/calculate.js";
import { Field, Form } from "../parts/form.js";
import { Shown } from "../parts/loaded.js";

/** @typedef {{name: string, in: string, description?: string, schema: any, examples?: any}} Parameter */

/** A public document of the service, as `useLoaded` gives those of an account. @param {string} path */
function usePublic(path) {
  const data = useSignal(/** @type {any} */ (null));
  const problem = useSignal(/** @type {Problem | null} */ (null));
  const load = async () => {
    problem.value = null;
    try {
      data.value = await readJson(await anonymous(path));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      problem.value = error;
    }
  };
  useEffect(() => { load(); }, [path]);
  return { data: data.value, problem: problem.value, busy: false, reload: load };
}

/** The operation's entry in the OpenAPI document. @param {any} document @param {string} name */
function entryOf(document, name) {
  const paths = Object.entries(document.paths);
  return /** @type {any} */ (paths.find(([path, item]) => path.startsWith(`/${name}/{`) && item.get?.operationId === name)?.[1])?.get;
}

/** Every operation that a batch may name, with its operands, options and the patterns of their literals. */
export async function loadOperations() {
  const [index, document] = await Promise.all(["/", "/openapi.json"].map((path) => anonymous(path).then(readJson)));
  /** @type {Map<string, Parameter[]>} */
  const found = new Map();
  for (const name of index.operations) found.set(name, entryOf(document, name)?.parameters ?? []);
  return found;
}

/** Chips: the expression, and each operation. @param {{chosen: string | null}} props */
export function Operations({ chosen }) {
  const loaded = usePublic("/");
  const names = loaded.data?.operations.filter((/** @type {string} */ name) => name !== "evaluate") ?? [];
  const choose = (/** @type {string} */ name) => ask(name ? new URLSearchParams({ operation: name }) : new URLSearchParams());
  const all = ["", ...names, ...(chosen && !names.includes(chosen) ? [chosen] : [])];
  return html`<ul class="chips" aria-label=${t("calculate.operations")}>${all.map((name) => html`
    <li key=${name}><button type="button" class=${name ? "chip mono" : "chip"} aria-pressed=${name === (chosen ?? "")}
      onClick=${() => choose(name)}>${name || t("calculate.expression")}</button></li>`)}</ul>`;
}

/**
 * A number without the separators of its thousands. A single one stays where it may be a decimal sign: in 1.000, and in
 * 1,000 for those who do not read English. In 0,125 it is no separator of thousands, whose first group begins with no 0.
 * @param {string} text
 */
function ungrouped(text) {
  const separator = /^-?[1-9]\d{0,2}([,.\s])\d{3}(?:\1\d{3})*$/.exec(text)?.[1];
  if (separator === undefined) return text;
  const parts = text.split(separator);
  const decimal = separator === "." || (separator === "," && language.value.value !== "en");
  return parts.length === 2 && decimal ? text : parts.join("");
}

/** An operand as a literal: 10^12 is 1e12, and 1,000,000 is 1000000. @param {string} value */
const literal = (value) => ungrouped(value.trim()).replace(/^(-?)10\^(\d+)$/, "$11e$2");

/** @param {{parameter: Parameter, value: string, error?: string}} props */
function Option({ parameter, value, error }) {
  const { name, schema } = parameter;
  const description = parameter.description?.replaceAll("`", "");
  const options = schema.enum ?? schema.anyOf?.find((/** @type {any} */ one) => one.enum)?.enum;
  if (!options) {
    const hint = schema.default === undefined ? description : `${description} (${schema.default})`;
    return html`<${Field} name=${name} label=${name} value=${value} error=${error} hint=${hint} autocomplete="off"
      spellcheck=${false} inputmode="numeric" class="mono" />`;
  }
  return html`<fieldset class="choices row"><legend>${name}</legend>${options.map((/** @type {string} */ one) => html`
    <label class="check" key=${one}><input type="radio" name=${name} value=${one === schema.default ? "" : one}
      defaultChecked=${one === (value || schema.default)} />${t(`calculate.view-${one}`)}</label>`)}</fieldset>`;
}

/** @param {{entry: any, name: string}} props */
function Inputs({ entry, name }) {
  const given = asked();
  const open = useSignal(["mod", "precision", "base", "view"].some((option) => given.get(option)));
  const operands = entry.parameters.filter((/** @type {Parameter} */ one) => one.in === "path");
  const options = entry.parameters.filter((/** @type {Parameter} */ one) => one.in === "query" && one.name !== "format");
  const submit = async (/** @type {Record<string, string>} */ values) => {
    const filled = Object.entries(values).filter(([, value]) => value.trim() !== "");
    const members = filled.map(([key, value]) => [key, literal(value)]);
    const problem = await calculate(new URLSearchParams([["operation", name], ...members]));
    if (problem?.code !== "validation-error") return;
    state.value = { ...state.value, problem: undefined }; // it stands at the fields
    if (options.some((/** @type {Parameter} */ one) => problem.errors.some(({ pointer }) => pointer.endsWith(`/${one.name}`)))) open.value = true;
    throw problem;
  };
  return html`<h2>${entry.summary}</h2><p class="hint">${entry.description.split("\n")[0].replaceAll("`", "")}</p>
    <${Form} submit=${submit} action=${t("calculate.action")}>${(/** @type {any} */ errors) => html`
      ${operands.map((/** @type {Parameter} */ one, /** @type {number} */ index) => html`
        <${Field} key=${one.name} name=${one.name} label=${one.name} hint=${one.description} error=${errors[one.name]} required
          placeholder=${one.schema.examples?.[0]} value=${given.get(one.name) ?? ""} class="mono" autocomplete="off"
          autocapitalize="off" spellcheck=${false} data-slash=${index === 0} />`)}
      ${options.length > 0 && html`<details open=${open.value} onToggle=${(/** @type {any} */ event) => { open.value = event.currentTarget.open; }}>
        <summary>${t("calculate.options")}</summary><div class="options">${options.map((/** @type {Parameter} */ one) => html`
          <${Option} key=${one.name} parameter=${one} value=${given.get(one.name) ?? ""} error=${errors[one.name]} />`)}</div></details>`}`}<//>`;
}

/** The form of an operation. @param {{name: string}} props */
export function OperationForm({ name }) {
  const loaded = usePublic("/openapi.json");
  return html`<div class="card operation"><${Shown} loaded=${loaded}>${(/** @type {any} */ document) => {
    const entry = entryOf(document, name);
    return entry ? html`<${Inputs} key=${name} entry=${entry} name=${name} />` : html`<p>${t("calculate.no-operation", { name })}</p>`;
  }}<//></div>`;
}
