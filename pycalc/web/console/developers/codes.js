// The code that the page Developers offers. The key is never part of it: programs take it from PYCALC_API_KEY.

/** @typedef {{name: string, text: string}} Code */

/** The first calculation. @param {string} origin @returns {Code[]} */
export function first(origin) {
  return [
    { name: "curl", text: `curl -s ${origin}/fibonacci/100 -H "Authorization: Bearer $PYCALC_API_KEY"` },
    { name: "Python", text: `import os
from pycalc_client import Client

with Client("${origin}", api_key=os.environ["PYCALC_API_KEY"]) as calc:
    print(calc.fibonacci(100).result)
    print(calc.evaluate("3^(10^12) mod 10^20").result)` },
    { name: "JavaScript", text: `const answer = await fetch("${origin}/fibonacci/100", {
  headers: { Authorization: \`Bearer \${process.env.PYCALC_API_KEY}\` },
});
const { result } = await answer.json();
console.log(BigInt(result));` },
  ];
}

/**
 * The configuration of a program that offers tools to a language model (Model Context Protocol).
 * @param {string} origin
 * @param {(key: string) => string} t
 * @returns {Code[]}
 */
export function mcp(origin, t) {
  const remote = { mcpServers: { pycalc: { type: "http", url: `${origin}/mcp`, headers: { Authorization: "Bearer ${PYCALC_API_KEY}" } } } };
  const local = { mcpServers: { pycalc: { command: "pycalc", args: ["mcp"] } } };
  return [
    { name: t("developers.mcp-remote"), text: JSON.stringify(remote, null, 2) },
    { name: t("developers.mcp-local"), text: JSON.stringify(local, null, 2) },
  ];
}
