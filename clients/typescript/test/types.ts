// Compiled, not run: the types of results as a user of the client sees them.
import { type Calculation, Client, type Factor, type IntegerRoot, type Operand, ProblemError, type Summary } from "pycalc-client";

const calc = new Client("http://127.0.0.1:8080", { apiKey: "pck_..." });

export async function results(options: { base: Operand }): Promise<void> {
  const integer: bigint = (await calc.fibonacci(100)).result;
  const residue: bigint = (await calc.factorial("1e6", { mod: 97n })).result;
  const power: bigint | string = (await calc.pow("2/3", 2, { precision: 10 })).result;
  const decision: boolean = (await calc.calculate("isprime", { n: 97 })).result;
  const factors: Factor[] = (await calc.calculate("factorize", { n: 360 })).result;
  const root: IntegerRoot = (await calc.calculate("iroot", { n: 10, k: 2 })).result;
  const binomial: bigint = (await calc.calculate("binomial", { n: 5, k: 2 })).result;
  const ends: Summary = await calc.summarize("fibonacci", { n: 10n ** 18n });
  // @ts-expect-error: in another base it is text
  const binary: bigint = (await calc.fibonacci(10, options)).result;
  // @ts-expect-error: a decimal or a fraction is text
  const decimal: bigint = (await calc.pow(2, -1)).result;
  // @ts-expect-error: there is no such operation
  await calc.calculate("fibonaci", { n: 1 });
  // @ts-expect-error: there is no such option
  await calc.fibonacci(1, { modulus: 2 });
  for await (const each of calc.batch([{ operation: "gcd", input: { a: 1, b: 2 } }])) {
    const answer: Calculation | Summary = each instanceof ProblemError ? ends : each;
    console.log(answer.digits);
  }
  console.log(integer, residue, power, decision, factors, root, binomial, binary, decimal);
}

export function problems(error: unknown): bigint | undefined {
  if (!(error instanceof ProblemError)) throw error;
  if (error.is("quota-exceeded")) console.log(error.problem.resets_at, error.problem.used + 1);
  if (error.is("computation-timeout")) return error.problem.found?.[0]?.prime;
  return error.is("result-too-large") ? error.problem.digits : undefined;
}
