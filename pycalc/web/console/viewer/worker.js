// A web worker that searches digits, counts them, and makes their SHA-256, so that the page stays responsive.

const MOST_HITS = 1_000_000;
let digits = "";

/** The positions of a pattern, overlapping ones too, up to a million. @param {string} pattern */
function find(pattern) {
  /** @type {number[]} */
  const found = [];
  for (let at = digits.indexOf(pattern); at >= 0 && found.length < MOST_HITS; at = digits.indexOf(pattern, at + 1)) found.push(at);
  return Uint32Array.from(found);
}

/** How often each digit occurs. */
function histogram() {
  const counts = new Array(10).fill(0);
  for (let at = 0; at < digits.length; at += 1) {
    const digit = digits.charCodeAt(at) - 48;
    if (digit >= 0 && digit < 10) counts[digit] += 1; // the rest is a sign or a point
  }
  return counts;
}

/** The SHA-256 in hexadecimal; null where the browser has none, without a secure connection. */
async function sha256() {
  if (!crypto.subtle) return null;
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(digits)));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

addEventListener("message", async ({ data }) => {
  if (data.digits !== undefined) {
    ({ digits } = data);
    postMessage({ facts: { histogram: histogram(), sha256: await sha256() } });
  } else {
    const hits = find(data.pattern);
    postMessage({ pattern: data.pattern, hits, capped: hits.length === MOST_HITS }, { transfer: [hits.buffer] });
  }
});
