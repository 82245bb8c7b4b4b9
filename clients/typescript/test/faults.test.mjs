// The client against a server that fails in ways of which a service is rarely capable.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { afterEach, test } from "node:test";
import { Client, DigestMismatch } from "pycalc-client";

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
const raw = (...lines) => (response) => response.socket.end(lines.join("\r\n"));
const QUICK = { firstWait: 0.001 };

/** Make every wait end at once, with the longest jitter; return the waits in milliseconds. Only for a fake fetch. */
function withoutWaiting(context) {
  const waits = [];
  context.mock.method(Math, "random", () => 1);
  context.mock.method(globalThis, "setTimeout", (call, milliseconds) => {
    waits.push(milliseconds);
    queueMicrotask(call);
  });
  return waits;
}

test("429, 503 and a cut connection are repeated with the same Idempotency-Key", async () => {
  const later = { "Retry-After": "0" };
  const { url, requests } = await serving(problem(429, "rate-limited", later), problem(503, "overloaded", later), cut, good);
  assert.equal((await new Client(url, { apiKey: "k", retries: QUICK }).fibonacci(3)).result, 2n);
  const keys = requests.map((request) => request.headers["idempotency-key"]);
  assert.equal(keys.length, 4);
  assert.match(keys[0], /^"[0-9a-f]{32}"$/);
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

test("six attempts are made, after waits that double from 0.5 s up to 30 s", async (context) => {
  const waits = withoutWaiting(context);
  const unreachable = { fetch: () => Promise.reject(new TypeError("fetch failed")) };
  await assert.rejects(new Client("http://x", unreachable).fibonacci(3), { message: "fetch failed" });
  assert.deepEqual(waits.splice(0), [500, 1000, 2000, 4000, 8000]);
  await assert.rejects(new Client("http://x", { ...unreachable, retries: { attempts: 9 } }).fibonacci(3), TypeError);
  assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
});

test("what will not change is not repeated: an invalid request, a refused login", async () => {
  const invalid = await serving(problem(422, "validation-error"));
  await assert.rejects(new Client(invalid.url).fibonacci("x"), (error) => error.is("validation-error"));
  assert.equal(invalid.requests.length, 1);
  const refused = await serving(problem(401, "unauthorized"));
  await assert.rejects(new Client(refused.url, { username: "ada", password: "wrong" }).fibonacci(3), (error) => error.status === 401);
  assert.deepEqual(refused.requests.map((request) => request.url), ["/login"]);
});

/**
 * Start a service of sessions, whose first access token has expired; return its URL and the paths of requests.
 *
 * The n-th refresh gets the n-th of the answers, and a session if there is none.
 */
async function withSessions(...refreshes) {
  let tokens = 0;
  const session = (response) => response.end(JSON.stringify({ access_token: `t${++tokens}`, refresh_token: `r${tokens}`, expires_in: 900 }));
  const paths = [];
  const server = createServer((request, response) => {
    request.resume();
    paths.push(request.url);
    if (request.url === "/login") return session(response);
    if (request.url === "/token/refresh") return (refreshes.shift() ?? session)(response);
    return (request.headers.authorization === "Bearer t1" ? problem(401, "unauthorized") : good)(response);
  });
  servers.push(server);
  await new Promise((resolve) => { server.listen(0, "127.0.0.1", resolve); });
  return { url: `http://127.0.0.1:${server.address().port}`, paths };
}

test("parallel calls share one login, and a token that has expired is renewed once for all", async () => {
  const { url, paths } = await withSessions();
  const calc = new Client(url, { username: "ada", password: "p" });
  const results = await Promise.all([1, 2, 3].map((n) => calc.fibonacci(n)));
  assert.deepEqual(results.map(({ result }) => result), [2n, 2n, 2n]);
  assert.deepEqual(["/login", "/token/refresh"].map((path) => paths.filter((each) => each === path).length), [1, 1]);
});

test("where the session has ended, the client logs in again", async () => {
  const { url, paths } = await withSessions(problem(401, "unauthorized"));
  assert.equal((await new Client(url, { username: "ada", password: "p" }).fibonacci(3)).result, 2n);
  assert.deepEqual(paths, ["/login", "/calculations", "/token/refresh", "/login", "/calculations"]);
});

for (const [status, slug] of [[429, "rate-limited"], [503, "overloaded"]]) {
  test(`a refresh that gets ${status} is repeated, and the session is kept`, async () => {
    const { url, paths } = await withSessions(problem(status, slug, { "Retry-After": "0" }));
    assert.equal((await new Client(url, { username: "ada", password: "p", totp: "123456" }).fibonacci(3)).result, 2n);
    assert.deepEqual(paths, ["/login", "/calculations", "/token/refresh", "/calculations", "/token/refresh", "/calculations"]);
  });
}

test("where the answer to a refresh is lost, the client logs in again", async () => {
  const { url, paths } = await withSessions(cut);
  const calc = new Client(url, { username: "ada", password: "p", retries: QUICK });
  assert.equal((await calc.fibonacci(3)).result, 2n);
  assert.deepEqual(paths, ["/login", "/calculations", "/token/refresh", "/login", "/calculations"]);
});

const recorded = (digits) => (response) => response.end(JSON.stringify({ id: "1", sha256: createHash("sha256").update(digits).digest("hex") }));

/** Return the digits of the calculation 1 in one string. */
async function digitsFrom(calc) {
  let digits = "";
  for await (const part of calc.digits("1")) digits += part;
  return digits;
}

test("digits that are cut go on where they were, and the whole is verified", async () => {
  const half = (response) => {
    response.writeHead(200, { ETag: '"e"', "Content-Length": "10" });
    response.write("01234", () => setImmediate(() => response.socket.destroy()));
  };
  const rest = (response) => response.writeHead(206, { ETag: '"e"', "Content-Range": "bytes 5-9/10" }).end("56789");
  const { url, requests } = await serving(recorded("0123456789"), half, rest);
  assert.equal(await digitsFrom(new Client(url, { retries: QUICK })), "0123456789");
  assert.deepEqual([requests[2].headers.range, requests[2].headers["if-match"]], ["bytes=5-", '"e"']);
});

test("a weak ETag, which a proxy that compresses makes, is not sent back, as it never matches", async () => {
  const half = raw("HTTP/1.1 200 OK", 'ETag: W/"e"', "Content-Length: 10", "", "01234");
  const rest = (response) => response.writeHead(206, { ETag: '"e"' }).end("56789");
  const { url, requests } = await serving(recorded("0123456789"), half, rest);
  assert.equal(await digitsFrom(new Client(url, { retries: QUICK })), "0123456789");
  assert.equal(requests[2].headers["if-match"], undefined);
});

const first = raw("HTTP/1.1 200 OK", 'ETag: "e"', "Content-Length: 10", "", "01234");
const header = raw("HTTP/1.1 206 Partial Content", 'ETag: "e"', "Content-Length: 5", "", "");
const last = (response) => response.writeHead(206, { ETag: '"e"' }).end("56789");

test("digits that are cut before their first byte are asked for again, within the attempts", async () => {
  const cuts = await serving(recorded("0123456789"), first, header, header, last);
  assert.equal(await digitsFrom(new Client(cuts.url, { retries: { ...QUICK, attempts: 4 } })), "0123456789");
  const { url, requests } = await serving(recorded("0123456789"), first, header);
  await assert.rejects(digitsFrom(new Client(url, { retries: { ...QUICK, attempts: 4 } })), TypeError);
  assert.deepEqual(requests.slice(1).map(({ headers }) => headers.range), [undefined, "bytes=5-", "bytes=5-", "bytes=5-"]);
});

test("after every cut the client waits before it asks for the rest of the digits", async (context) => {
  const waits = withoutWaiting(context);
  const sha256 = createHash("sha256").update("0123456789").digest("hex");
  const oneByte = (position) => new ReadableStream({
    pull(controller) {
      if (this.sent) return controller.error(new TypeError("terminated"));
      this.sent = true;
      controller.enqueue(new TextEncoder().encode("0123456789".slice(position, position + 1)));
      if (position === 9) controller.close();
    },
  });
  const fetch = async (url, { headers }) => {
    if (!url.endsWith("/digits")) return Response.json({ id: "1", sha256 });
    const position = Number(headers.Range?.match(/\d+/)[0] ?? 0);
    return new Response(oneByte(position), { status: position ? 206 : 200, headers: { ETag: '"e"' } });
  };
  assert.equal(await digitsFrom(new Client("http://x", { fetch })), "0123456789");
  assert.deepEqual(waits, Array(9).fill(500));
});

test("digits whose last chunk is lost are complete", async () => {
  const chunk = raw("HTTP/1.1 200 OK", 'ETag: "e"', "Transfer-Encoding: chunked", "", "a", "0123456789", "");
  const { url } = await serving(recorded("0123456789"), chunk, problem(416, "range-not-satisfiable"));
  assert.equal(await digitsFrom(new Client(url, { retries: QUICK })), "0123456789");
  const refused = await serving(recorded("0123456789"), problem(416, "range-not-satisfiable"));
  await assert.rejects(digitsFrom(new Client(refused.url)), (error) => error.status === 416);
});

test("where the range is ignored, the digits that have come are skipped and are no progress", async () => {
  const whole = (response) => response.write("012", () => response.end("3456789"));
  const { url, requests } = await serving(recorded("0123456789"), first, whole);
  assert.equal(await digitsFrom(new Client(url, { retries: QUICK })), "0123456789");
  assert.equal(requests.length, 3);
  const same = await serving(recorded("0123456789"), first, first, first, problem(403, "forbidden"));
  await assert.rejects(digitsFrom(new Client(same.url, { retries: { ...QUICK, attempts: 3 } })), TypeError);
  assert.equal(same.requests.length, 4);
});

for (const length of [0, 1, 55, 56, 63, 64, 65, 119, 120, 128, 1000, 100_003]) {
  test(`${length} digits are verified, and one wrong digit is noticed`, async () => {
    const digits = "1234567".repeat(Math.ceil(length / 7)).slice(0, length);
    const parts = async (sent) => {
      const { url } = await serving(recorded(digits), (response) => response.end(sent));
      for await (const part of new Client(url).digits("1")) assert.ok(sent.includes(part));
    };
    await parts(digits);
    await assert.rejects(parts(`${digits.slice(1)}8`), DigestMismatch);
  });
}

const event = (n) => `id: e${n}\ndata: ${JSON.stringify({ id: `e${n}`, type: "t", data: { ...answer, id: `e${n}`, result: n } })}\n\n`;

test("events that are cut go on behind the last one, whatever parts they come in", async () => {
  const whole = event(1) + ": heartbeat\n\n" + event(2);
  const broken = (response) => {
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.write("id: e0\n\n" + whole.slice(0, 40));
    response.write(whole.slice(40) + event(3).slice(0, 30), () => setImmediate(() => response.socket.destroy()));
  };
  const ended = (response) => response.end(event(3).replaceAll("\n", "\r\n"));
  const later = problem(503, "overloaded", { "Retry-After": "0" });
  const { url, requests } = await serving(broken, later, ended, (response) => response.write(event(4)));
  const results = [];
  for await (const { id, calculation } of new Client(url, { retries: QUICK }).events()) {
    results.push([id, calculation.result]);
    if (results.length === 4) break;
  }
  assert.deepEqual(results, [["e1", 1n], ["e2", 2n], ["e3", 3n], ["e4", 4n]]);
  assert.deepEqual(requests.map((request) => request.headers["last-event-id"]), [undefined, "e2", "e2", "e3"]);
});

for (const opening of ["id: e0\n\n", ": connected\n\n"]) {
  test(`a stream that ends after ${JSON.stringify(opening)} is a failed attempt`, async () => {
    const opened = (response) => response.end(opening);
    const { url, requests } = await serving(opened, opened, opened, problem(403, "forbidden"));
    await assert.rejects(new Client(url, { retries: { ...QUICK, attempts: 3 } }).events().next(), TypeError);
    assert.equal(requests.length, 3);
  });
}

test("heartbeats are progress", async () => {
  const quiet = (response) => response.end(": connected\n\n: heartbeat\n\n");
  const { url, requests } = await serving(quiet, quiet, quiet, quiet, problem(403, "forbidden"));
  await assert.rejects(new Client(url, { retries: { ...QUICK, attempts: 2 } }).events().next(), (error) => error.is("forbidden"));
  assert.equal(requests.length, 5);
});

test("events go on after five attempts without a connection", async () => {
  const { url } = await serving(cut, cut, cut, cut, cut, (response) => response.write(event(1)));
  for await (const { id } of new Client(url, { retries: QUICK }).events()) {
    assert.equal(id, "e1");
    break;
  }
});

test("an event of another form is an error and not a cut", async () => {
  const other = (response) => response.write(`id: e1\ndata: ${JSON.stringify({ id: "e1", type: "t", data: {} })}\n\n`);
  const { url, requests } = await serving(other, (response) => response.write(event(2)));
  await assert.rejects(new Client(url, { retries: QUICK }).events().next(), TypeError);
  assert.equal(requests.length, 1);
});

test("events end with an error where the service refuses them, and with their signal", async () => {
  const { url, requests } = await serving(problem(403, "forbidden"));
  await assert.rejects(new Client(url).events({ lastEventId: "e9" }).next(), (error) => error.is("forbidden"));
  assert.deepEqual(requests.map((request) => request.headers["last-event-id"]), ["e9"]);
  const stop = new AbortController();
  const silent = await serving((response) => {
    response.write(": connected\n\n", () => stop.abort(new Error("stopped")));
  });
  await assert.rejects(new Client(silent.url).events({ signal: stop.signal }).next(), { message: "stopped" });
});

test("a signal stops the waiting for a retry", async () => {
  const stop = new AbortController();
  const { url } = await serving((response) => {
    problem(503, "overloaded", { "Retry-After": "50" })(response);
    setTimeout(() => stop.abort(new Error("stopped")), 20);
  });
  await assert.rejects(new Client(url).fibonacci(3, { signal: stop.signal }), { message: "stopped" });
});

test("an answer of a proxy without a problem is repeated, and in the end an error", async () => {
  const { url, requests } = await serving((response) => response.writeHead(502).end("<html>"));
  const once = new Client(url, { retries: { ...QUICK, attempts: 2 } });
  await assert.rejects(once.fibonacci(3), (error) => error.status === 502 && error.is("internal-error"));
  assert.equal(requests.length, 2);
});

test("the members of a problem are exact, and those that the service does not know are absent", async () => {
  const answers = async (status, type, members) => {
    const body = { type: `/docs/problems#${type}`, title: "", status, detail: "d", instance: "/", ...members };
    const { url } = await serving((response) => response.writeHead(status).end(JSON.stringify(body)));
    return new Client(url).fibonacci(3).then(assert.fail, (error) => error.problem);
  };
  assert.equal((await answers(422, "result-too-large", { limit: 25_000_000 })).limit, 25_000_000n);
  const { found } = await answers(504, "computation-timeout", { found: [{ prime: "9007199254740993", exponent: 2 }] });
  assert.deepEqual(found, [{ prime: 9007199254740993n, exponent: 2n }]);
});

test("a batch of long items is sent in requests that the service takes", async () => {
  const sizes = [];
  const fetch = async (url, { body }) => {
    const { operations } = JSON.parse(body);
    sizes.push([operations.length, new TextEncoder().encode(body).length]);
    return Response.json({ results: operations.map(({ input }) => ({ ...answer, input, result: Number(input.n.slice(0, 3)) })) });
  };
  const items = Array.from({ length: 300 }, (_, index) => ({ operation: "isprime", input: { n: `${100 + index}`.padEnd(9_000, "é") } }));
  const results = [];
  for await (const { result } of new Client("http://x", { fetch }).batch(items)) results.push(Number(result));
  assert.deepEqual(results, Array.from({ length: 300 }, (_, index) => 100 + index));
  assert.deepEqual(sizes.map(([count]) => count), [49, 49, 49, 49, 49, 49, 6]);
  assert.ok(sizes.every(([, bytes]) => bytes < 1_048_576));
});

const session = (name) => (response) => (
  response.end(JSON.stringify({ access_token: `access ${name}`, refresh_token: `refresh ${name}`, expires_in: 900 })));

test("closing ends the session, also after its access token has expired", async () => {
  const { url, requests } = await serving(session(1), good, problem(401, "unauthorized"), session(2), good);
  const calc = new Client(url, { username: "ada", password: "p" });
  await calc.fibonacci(3);
  await calc.close();
  await calc.close();
  assert.deepEqual(requests.map((request) => [request.url, request.headers.authorization]).slice(2), [
    ["/logout", "Bearer access 1"], ["/token/refresh", undefined], ["/logout", "Bearer access 2"],
  ]);
});

test("a session that has ended already needs no end", async () => {
  const { url, requests } = await serving(session(1), good, problem(401, "unauthorized"));
  const calc = new Client(url, { username: "ada", password: "p" });
  await calc.fibonacci(3);
  await calc.close();
  assert.deepEqual(requests.map((request) => request.url), ["/login", "/calculations", "/logout", "/token/refresh"]);
});

test("a signal stops a call that waits for the login, and no other call", async () => {
  const stop = new AbortController();
  const waiting = [];
  const { url } = await serving((response) => {
    waiting.push(response);
    stop.abort(new Error("stopped"));
  }, good);
  const calc = new Client(url, { username: "ada", password: "p" });
  const [stopped, other] = [calc.fibonacci(3, { signal: stop.signal }), calc.fibonacci(3)];
  await assert.rejects(stopped, { message: "stopped" });
  session(1)(waiting[0]);
  assert.equal((await other).result, 2n);
});

test("a redirect is not followed, and the error names its target", async () => {
  const moved = (response) => response.writeHead(302, { Location: "https://pycalc.example/calculations" }).end();
  const { url, requests } = await serving(moved);
  await assert.rejects(new Client(url, { apiKey: "k" }).fibonacci(3), /redirects to https:\/\/pycalc\.example\/calculations/);
  assert.deepEqual(requests.map((request) => request.method), ["POST"]);
});

test("a Retry-After with a date needs no right clock", async () => {
  const later = { Date: "Mon, 30 Nov 2026 10:00:00 GMT", "Retry-After": "Mon, 30 Nov 2026 12:00:00 GMT" };
  const { url } = await serving((response) => response.writeHead(503, later).end("maintenance"));
  await assert.rejects(new Client(url).fibonacci(3), (error) => error.retryAfter === 7200);
});

for (const url of ["localhost:8080", "127.0.0.1:8080", "ftp://pycalc.test", "http://"]) {
  test(`the URL ${url} is refused at once`, () => {
    assert.throws(() => new Client(url), { name: "RangeError", message: /must be like http:/ });
  });
}

for (const key of ["", "pck_secret\n", "pck sécret"]) {
  test(`the key ${JSON.stringify(key)} is refused at once, and the error does not show it`, () => {
    assert.throws(() => new Client("http://x", { apiKey: key }), (error) => error instanceof RangeError && !error.message.includes("secret"));
  });
}
