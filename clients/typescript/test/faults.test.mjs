// The client against a server that fails in ways of which a service is rarely capable.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { afterEach, test } from "node:test";
import { Client } from "pycalc-client";

const answer = { id: "1", operation: "fibonacci", input: { n: 3 }, result: 2, digits: 1, exact: true, cached: false, elapsed_ms: 0 };
const servers = [];

/** Start a server whose n-th request gets the n-th answer; return its URL and the requests it has seen. */
async function serving(...handlers) {
  const requests = [];
  const server = createServer((request, response) => {
    requests.push(request);
    request.resume();
    handlers[Math.min(requests.length, handlers.length) - 1](response);
  });
  servers.push(server);
  await new Promise((resolve) => { server.listen(0, "127.0.0.1", resolve); });
  return { url: `http://127.0.0.1:${server.address().port}`, requests };
}

afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

const good = (response) => response.setHeader("Content-Type", "application/json").end(JSON.stringify(answer));
const problem = (status, slug, headers = {}) => (response) => {
  response.writeHead(status, { "Content-Type": "application/problem+json", ...headers });
  response.end(JSON.stringify({ type: `/docs/problems#${slug}`, title: "", status, detail: "d", instance: "/" }));
};
const cut = (response) => response.socket.destroy();

test("429, 503 and a cut connection are repeated with the same Idempotency-Key", async () => {
  const later = { "Retry-After": "0" };
  const { url, requests } = await serving(problem(429, "rate-limited", later), problem(503, "overloaded", later), cut, good);
  assert.equal((await new Client(url, { apiKey: "k" }).fibonacci(3)).result, 2n);
  const keys = requests.map((request) => request.headers["idempotency-key"]);
  assert.equal(keys.length, 4);
  assert.match(keys[0], /^"[0-9a-f-]{36}"$/);
  assert.equal(new Set(keys).size, 1);
});

test("the attempts are bounded, and a long Retry-After is an error at once", async () => {
  const busy = await serving(problem(503, "overloaded", { "Retry-After": "0" }));
  await assert.rejects(new Client(busy.url, { retries: { attempts: 3 } }).fibonacci(3), (error) => error.is("overloaded"));
  assert.equal(busy.requests.length, 3);
  const closed = await serving(problem(429, "quota-exceeded", { "Retry-After": "3600" }));
  await assert.rejects(new Client(closed.url).fibonacci(3), (error) => error.retryAfter === 3600);
  assert.equal(closed.requests.length, 1);
});

test("what will not change is not repeated: an invalid request, a refused login", async () => {
  const invalid = await serving(problem(422, "validation-error"));
  await assert.rejects(new Client(invalid.url).fibonacci("x"), (error) => error.is("validation-error"));
  assert.equal(invalid.requests.length, 1);
  const refused = await serving(problem(401, "unauthorized"));
  await assert.rejects(new Client(refused.url, { username: "ada", password: "wrong" }).fibonacci(3), (error) => error.status === 401);
  assert.deepEqual(refused.requests.map((request) => request.url), ["/login"]);
});

test("parallel calls share one login, and a token that has expired is renewed once for all", async () => {
  let logins = 0;
  const server = createServer((request, response) => {
    request.resume();
    if (request.url === "/login") return response.end(JSON.stringify({ access_token: `t${++logins}`, expires_in: 900 }));
    return (request.headers.authorization === "Bearer t1" ? problem(401, "unauthorized") : good)(response);
  });
  servers.push(server);
  await new Promise((resolve) => { server.listen(0, "127.0.0.1", resolve); });
  const calc = new Client(`http://127.0.0.1:${server.address().port}`, { username: "ada", password: "p" });
  const results = await Promise.all([1, 2, 3].map((n) => calc.fibonacci(n)));
  assert.deepEqual(results.map(({ result }) => result), [2n, 2n, 2n]);
  assert.equal(logins, 2);
});

test("digits that are cut go on where they were", async () => {
  const half = (response) => {
    response.writeHead(200, { ETag: '"e"', "Content-Length": "10" });
    response.write("01234", () => setImmediate(() => response.socket.destroy()));
  };
  const rest = (response) => response.writeHead(206, { ETag: '"e"', "Content-Range": "bytes 5-9/10" }).end("56789");
  const { url, requests } = await serving(half, rest);
  let digits = "";
  for await (const part of new Client(url).digits("1")) digits += part;
  assert.equal(digits, "0123456789");
  assert.deepEqual([requests[1].headers.range, requests[1].headers["if-match"]], ["bytes=5-", '"e"']);
});

test("a signal stops the waiting for a retry", async () => {
  const stop = new AbortController();
  const { url } = await serving((response) => {
    problem(503, "overloaded", { "Retry-After": "50" })(response);
    setTimeout(() => stop.abort(new Error("stopped")), 20);
  });
  await assert.rejects(new Client(url).fibonacci(3, { signal: stop.signal }), { message: "stopped" });
});

test("an answer of a proxy without a problem is an error too", async () => {
  const { url } = await serving((response) => response.writeHead(502).end("<html>"));
  await assert.rejects(new Client(url).fibonacci(3), (error) => error.status === 502 && error.is("internal-error"));
});
