// The operations that the service offers, read from its OpenAPI document: a new one appears by itself.

const integer = (name, description) => (
  { name, description, numeric: true, choices: null, required: true, example: "", preset: "" }
);
const decimal = (name, description) => ({ ...integer(name, description), numeric: false });

// What is offered when the document cannot be read.
const KNOWN = [
  { name: "fibonacci", path: "/fibonacci/{n}", operands: [integer("n", "An integer, 0 or more")] },
  { name: "factorial", path: "/factorial/{n}", operands: [integer("n", "An integer, 0 or more")] },
  { name: "pow", path: "/pow/{x}/{y}", operands: [decimal("x", "A decimal: 2, -3, 2.5, 1e3"), decimal("y", "A decimal")] },
].map((operation) => ({ ...operation, about: "", options: [] }));

const EXAMPLES = {
  fibonacci: { n: "1000" }, factorial: { n: "100" }, pow: { x: "2", y: "256" }, evaluate: { expression: "2^256 - 1" },
};

// How these are written on paper; any other operation is written as a call.
const NOTATION = {
  fibonacci: ({ n }) => `F(${n})`,
  factorial: ({ n }) => `${n}!`,
  evaluate: ({ expression }) => expression,
  pow: ({ x, y }) => `${/^\d+$/.test(x) || x === "x" ? x : `(${x})`}^${/^[\d.]+$/.test(y) || y === "y" ? y : `(${y})`}`,
};

function resolve(document, schema) {
  let found = schema;
  for (let depth = 0; found?.$ref && depth < 8; depth += 1) {
    found = found.$ref.replace(/^#\//, "").split("/")
      .reduce((node, key) => node?.[key.replaceAll("~1", "/").replaceAll("~0", "~")], document);
  }
  return found ?? {};
}

function propertiesOf(document, schema, depth = 0) {
  if (depth > 6) return new Set();
  const own = resolve(document, schema);
  const parts = [...(own.allOf ?? []), ...(own.anyOf ?? []), ...(own.oneOf ?? [])];
  const names = parts.flatMap((part) => [...propertiesOf(document, part, depth + 1)]);
  return new Set([...Object.keys(own.properties ?? {}), ...names]);
}

function answersWithResult(document, get) {
  const schema = resolve(document, get.responses?.["200"]).content?.["application/json"]?.schema;
  const names = schema ? propertiesOf(document, schema) : new Set();
  return names.has("result") && names.has("operation");
}

// Descriptions are Markdown; of that, ours use code spans.
const plain = (markdown) => markdown.replaceAll("`", "").trim();

function exampleOf(parameter, schema) {
  const [named] = Object.values(parameter.examples ?? {});
  return String(parameter.example ?? named?.value ?? schema.examples?.[0] ?? schema.example ?? "");
}

function choicesOf(document, schema) {
  const own = resolve(document, schema);
  if (Array.isArray(own.enum)) return own.enum.map(String);
  if (own.const !== undefined) return [String(own.const)];
  const parts = (own.anyOf ?? own.oneOf ?? []).filter((part) => part.type !== "null");
  return parts.length === 1 ? choicesOf(document, parts[0]) : null;
}

function isInteger(document, schema) {
  const own = resolve(document, schema);
  return own.type === "integer" || (own.anyOf ?? []).some((part) => part.type === "integer");
}

function argument(document, given) {
  const parameter = resolve(document, given);
  const schema = parameter.schema ?? {};
  const description = plain(parameter.description ?? resolve(document, schema).description ?? "");
  const example = exampleOf(parameter, schema);
  return {
    name: parameter.name,
    where: parameter.in,
    description,
    numeric: isInteger(document, schema) || /^\d+$/.test(example),
    choices: choicesOf(document, schema),
    required: Boolean(parameter.required),
    example,
    preset: schema.default === undefined || schema.default === null ? "" : String(schema.default),
  };
}

/** The calculations in an OpenAPI document: GET paths `/name/{operand}...` whose 200 holds `operation` and `result`. */
export function readOperations(document) {
  const found = [];
  for (const [path, item] of Object.entries(document?.paths ?? {})) {
    const match = /^\/(?:[^{}]+\/)?([^/{}]+)(?:\/\{[^{}/]+\})+$/.exec(path);
    if (!match || !item.get || !answersWithResult(document, item.get)) continue;
    const given = [...(item.parameters ?? []), ...(item.get.parameters ?? [])].map((one) => argument(document, one));
    const operands = [...path.matchAll(/\{([^}]+)\}/g)].map(([, name]) => {
      const declared = given.find((one) => one.name === name && one.where === "path");
      return declared ?? decimal(name, "");
    });
    const options = given.filter((one) => one.where === "query");
    found.push({ name: match[1], path, about: plain(item.get.description ?? item.get.summary ?? ""), operands, options });
  }
  return found.length > 0 ? found : KNOWN;
}

/** The operations of this service; the three well-known ones if its OpenAPI document cannot be had. */
export async function loadOperations() {
  try {
    const answer = await fetch("/openapi.json", { headers: { Accept: "application/json" } });
    return readOperations(answer.ok ? await answer.json() : null);
  } catch {
    return KNOWN;
  }
}

/** The path of a calculation, its query included. `values` maps argument names to text; empty options are left out. */
export function pathOf(operation, values) {
  const path = operation.path.replace(/\{([^}]+)\}/g, (_, name) => encodeURIComponent(values[name] ?? ""));
  const given = operation.options.filter(({ name }) => (values[name] ?? "") !== "");
  const query = given.map(({ name }) => `${encodeURIComponent(name)}=${encodeURIComponent(values[name])}`).join("&");
  return query ? `${path}?${query}` : path;
}

/** What stands in an argument's field at first: a worked example for an operand, nothing for an option. */
export function exampleFor(operation, { name, required, example }) {
  return EXAMPLES[operation.name]?.[name] ?? (required ? example : "");
}

const short = (text) => (text.length > 24 ? `${text.slice(0, 10)}…${text.slice(-10)}` : text);

/** A calculation as people write it: `F(1000)`, `100!`, `2^256`, `lucas(7)`; extra inputs stand behind it. */
export function notation(name, input) {
  const values = Object.fromEntries(Object.entries(input ?? {}).map(([key, value]) => [key, short(String(value))]));
  const write = NOTATION[name];
  if (!write) return `${name}(${Object.values(values).join(", ")})`;
  const operands = Object.keys(EXAMPLES[name]);
  if (operands.some((key) => values[key] === undefined)) return `${name}(${Object.values(values).join(", ")})`;
  const { mod, ...others } = values;
  const extra = Object.entries(others).filter(([key]) => !operands.includes(key)).map(([key, value]) => `${key} ${value}`);
  return [write(values), mod === undefined ? null : `mod ${mod}`, ...extra].filter(Boolean).join(" ");
}

/** How the operation is written with its operands' names. */
export function formula(operation) {
  return notation(operation.name, Object.fromEntries(operation.operands.map(({ name }) => [name, name])));
}
