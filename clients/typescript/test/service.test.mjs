// The client against the service at PYCALC_URL.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { before, test } from "node:test";
import { Client, ProblemError } from "pycalc-client";

const url = process.env.PYCALC_URL;
const password = "correct horse battery staple";
let calc;

async function all(items) {
  const found = [];
  for await (const item of items) found.push(item);
  return found;
}

before(async () => {
  const username = `u${randomUUID().slice(0, 8)}`;
  await new Client(url).register(username, `${username}@example.com`, password);
  calc = new Client(url, { username, password });
});

test("an exact integer is a bigint, small or large; every other number is text", async () => {
  assert.equal((await calc.fibonacci(10)).result, 55n);
  assert.equal((await calc.factorial(25)).result, 15511210043330985984000000n);
  assert.equal((await calc.pow(2n, 64n)).result, 18446744073709551616n);
  assert.equal((await calc.pow("2.5", -3)).result, "0.064");
  assert.equal((await calc.pow("2/3", 2)).result, "4/9");
  assert.equal((await calc.fibonacci(10, { base: 2 })).result, "110111");
  const rounded = await calc.pow("10", "20.5", { precision: 5 });
  assert.deepEqual([rounded.exact, typeof rounded.result], [false, "string"]);
});

test("booleans, factors and roots have exact members", async () => {
  assert.equal((await calc.calculate("isprime", { n: 2n ** 61n - 1n })).result, true);
  assert.deepEqual((await calc.calculate("factorize", { n: 360 })).result[0], { prime: 2n, exponent: 3n });
  assert.deepEqual((await calc.calculate("iroot", { n: 10n ** 30n + 1n, k: 2 })).result, { root: 10n ** 15n, remainder: 1n });
});

test("an operand that JavaScript has rounded is refused before it is sent", async () => {
  await assert.rejects(calc.fibonacci(2 ** 53), RangeError);
  assert.equal((await calc.fibonacci(10n ** 18n, { mod: 97 })).result, 40n);
});

test("a problem is an error with its type and exact members", async () => {
  await assert.rejects(calc.pow(0, -1), (error) => error instanceof ProblemError && error.is("domain-error") && error.status === 422);
  await assert.rejects(calc.factorial(10n ** 15n), (error) => error.is("result-too-large") && error.problem.digits === 14565705518096757n);
  await assert.rejects(calc.fibonacci(100_000_000, { base: 2 }), (error) => error.is("result-too-large") && error.problem.limit > 0n);
  await assert.rejects(new Client(url, { apiKey: "pck_wrong" }).fibonacci(1), (error) => error.is("unauthorized"));
});

test("a batch of more than one request answers in order, each with its result or problem", async () => {
  const items = Array.from({ length: 1001 }, (_, n) => ({ operation: "pow", input: { x: n, y: -1 } }));
  const results = await all(calc.batch(items));
  assert.equal(results.length, 1001);
  assert.equal(results[0].code, "domain-error");
  assert.deepEqual([results[1].result, results[1000].result], [1n, "0.001"]);
});

test("the history pages by itself, newest first", async () => {
  for (let n = 1; n <= 5; n++) await calc.calculate("lucas", { n });
  const items = await all(calc.history({ operation: "lucas", limit: 2 }));
  assert.deepEqual(items.map((item) => item.result), [11n, 7n, 4n, 3n, 1n]);
});

test("events come as calculations are recorded, and go on behind an event", async () => {
  const first = await calc.calculate("lucas", { n: 90 });
  await calc.pow(2, -1);
  await calc.factorial(25);
  const results = [];
  for await (const event of calc.events({ lastEventId: first.id })) {
    results.push([event.calculation.operation, event.calculation.result]);
    if (results.length === 2) break;
  }
  assert.deepEqual(results, [["pow", "0.5"], ["factorial", 15511210043330985984000000n]]);
});

test("the digits of a long result stream in parts, verified", async () => {
  const calculation = await calc.factorial(100_000);
  const parts = await all(calc.digits(calculation));
  assert.equal(BigInt(parts.join("")), calculation.result);
});

test("a session that was ended is opened again", async () => {
  await calc.close();
  assert.equal((await calc.fibonacci(3)).result, 2n);
});
