// Calculations as people write them: fibonacci(100), 100!, 2^256, each with its options.

const OPTIONS = ["mod", "base", "view", "precision"];

/** Whether the service recorded only the ends of an operand. @param {Record<string, unknown>} input */
export const isAbbreviated = (input) => Object.values(input).some((value) => /\(\d+ characters, SHA-256 [0-9a-f]{64}\)$/.test(String(value)));

/** @param {string} operand */
const grouped = (operand) => (/^[\d.]+$/.test(operand) ? operand : `(${operand})`);

/** The calculation without its options. @param {string} operation @param {Record<string, unknown>} input */
function call(operation, input) {
  const operands = Object.entries(input).filter(([name]) => !OPTIONS.includes(name)).map(([, value]) => String(value));
  if (operation === "evaluate") return operands[0] ?? "";
  if (operation === "factorial") return `${grouped(operands[0] ?? "")}!`;
  if (operation === "pow") return operands.map(grouped).join("^");
  return `${operation}(${operands.join(", ")})`;
}

/** @param {string} operation @param {Record<string, any>} input */
const withMod = (operation, input) => (input.mod === undefined ? call(operation, input) : `${call(operation, input)} mod ${input.mod}`);

/** The members of the address for this calculation: an expression, or where its ends are wanted the form of its operation.
 * @param {string} operation @param {Record<string, any>} input */
export function membersOf(operation, { view, precision, base, ...input }) {
  const asked = view ? { operation, ...input, view } : { expression: withMod(operation, input) };
  return new URLSearchParams({ ...asked, ...(precision && { precision }), ...(base && { base }) });
}

/** The options for the eye: "(base 16)"; "" if there are none. @param {Record<string, any>} input */
export function optionsOf(input) {
  const options = OPTIONS.filter((name) => input[name] !== undefined && name !== "mod").map((name) => `${name} ${input[name]}`);
  return options.length > 0 ? `(${options.join(", ")})` : "";
}

/** The calculation and its options for the eye, at most `longest` characters of it.
 * @param {string} operation @param {Record<string, any>} input @param {number} [longest] */
export function notation(operation, input, longest = 60) {
  const text = [withMod(operation, input), optionsOf(input)].filter(Boolean).join(" ");
  return text.length > longest ? `${text.slice(0, longest / 2)}…${text.slice(-longest / 3)}` : text;
}
