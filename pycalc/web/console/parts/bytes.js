// Amounts of bytes.

import { number } from "../app.js";

const UNITS = [[1e12, "TB"], [1e9, "GB"], [1e6, "MB"], [1e3, "kB"]];

/** An amount with one decimal, in the largest unit below it. @param {number} bytes */
export function bytesText(bytes) {
  const [size, unit] = UNITS.find(([least]) => bytes >= Number(least)) ?? [1, "B"];
  return `${number(bytes / Number(size), { maximumFractionDigits: 1 })} ${unit}`;
}
