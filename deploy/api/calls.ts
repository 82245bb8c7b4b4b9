// Call a running service through the types that openapi-typescript generates (see __main__.py).
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

declare const process: { argv: string[] };

const password = "correct horse battery staple";
const client = createClient<paths>({ baseUrl: process.argv[2]! });

function expectEqual(found: unknown, expected: unknown): void {
  const [left, right] = [JSON.stringify(found), JSON.stringify(expected)];
  if (left !== right) throw new Error(`expected ${right}, got ${left}`);
}

/** The JSON among the representations that a route offers. */
function json<T>(body: T | undefined): Exclude<T, string> {
  if (typeof body !== "object") throw new Error(`expected JSON, got ${body}`);
  return body as Exclude<T, string>;
}

/** Whether a calculation of a batch has a problem for its result; compiles only if the document says so. */
function isProblem(result: components["schemas"]["BatchResult"]): result is components["schemas"]["Problem"] {
  return "status" in result;
}

await client.POST("/register", {
  body: { username: "typescript", email: "typescript@example.com", password, role: "user" },
});
const { data: session } = await client.POST("/login", { body: { username: "typescript", password } });
const headers = { Authorization: `Bearer ${session!.access_token}` };

const { data: made } = await client.GET("/fibonacci/{n}", { headers, params: { path: { n: "47" } } });
const calculation = json(made);
expectEqual("result" in calculation && calculation.result, 2971215073);

const { data: summary } = await client.GET("/fibonacci/{n}", {
  headers,
  params: { path: { n: "1000000000000000000" }, query: { view: "summary" } },
});
expectEqual(json(summary).digits, "208987640249978734");

const { error } = await client.GET("/factorial/{n}", { headers, params: { path: { n: "-1" } } });
expectEqual(error!.status, 422);

const { data: batch } = await client.POST("/batch", {
  headers,
  body: { operations: [{ operation: "pow", input: { x: "2", y: "-1" } }, { operation: "pow", input: { x: 0, y: -1 } }] },
});
const [half, refused] = batch!.results;
expectEqual(["result" in half! && half.result, isProblem(refused!) && refused.status], ["0.5", 422]);

const { data: posted } = await client.POST("/calculations", {
  headers,
  body: { operation: "pow", input: { x: 2, y: 10 } },
});
const { data: read } = await client.GET("/calculations/{calculation_id}", {
  headers,
  params: { path: { calculation_id: json(posted).id } },
});
expectEqual(read!.result, 1024);

const { data: page } = await client.GET("/secure-history", { headers, params: { query: { limit: 2 } } });
expectEqual(json(page).items.map((item) => item.operation), ["pow", "pow"]);
