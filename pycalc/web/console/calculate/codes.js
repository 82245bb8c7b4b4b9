// The same calculation for programs. The key is never part of it: programs take it from PYCALC_API_KEY.

/**
 * @param {string} origin @param {{path: string, json: Record<string, any>}} request
 * @returns {import("../developers/codes.js").Code[]}
 */
export function codesOf(origin, { path, json }) {
  const body = JSON.stringify(json);
  const { expression, operation, input, ...options } = json;
  const python = (/** @type {unknown} */ value) => JSON.stringify(value); // a JSON string is a string in Python, too
  const option = (/** @type {unknown} */ value) => (/^\d+$/.test(String(value)) ? String(value) : python(value));
  const named = (/** @type {Record<string, unknown>} */ values, /** @type {(value: unknown) => string} */ write) => (
    Object.entries(values).map(([name, value]) => `, ${name}=${write(value)}`).join(""));
  const more = named(options, option);
  const call = expression !== undefined
    ? `calc.evaluate(${python(expression)}${more})`
    : `calc.calculate(${python(operation)}${named(input ?? {}, python)}${more})`;
  return [
    { name: "curl", text: `curl -s ${origin}${path} -H "Authorization: Bearer $PYCALC_API_KEY" \\
  -H 'Content-Type: application/json' -d '${body.replaceAll("'", "'\\''")}'` },
    { name: "Python", text: `import os
from pycalc_client import Client

with Client("${origin}", api_key=os.environ["PYCALC_API_KEY"]) as calc:
    print(${call}.result)` },
    { name: "JavaScript", text: `const answer = await fetch("${origin}${path}", {
  method: "POST",
  headers: { Authorization: \`Bearer \${process.env.PYCALC_API_KEY}\`, "Content-Type": "application/json" },
  body: JSON.stringify(${body}),
});
const { result } = await answer.json();` },
  ];
}
