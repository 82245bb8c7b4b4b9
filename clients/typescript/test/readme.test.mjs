// The README's examples print what the comments beside their lines say.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readFile, rm, writeFile } from "node:fs/promises";
import { test } from "node:test";
import { promisify } from "node:util";
import { Client } from "pycalc-client";

const url = process.env.PYCALC_URL;
const folder = new URL(".", import.meta.url);

test("the README's examples print what they show", async (t) => {
  const readme = await readFile(new URL("../README.md", folder), "utf8");
  const examples = [...readme.matchAll(/^```js\n(.*?)^```/gms)].map(([, code]) => code);
  assert.equal(examples.length, 3);
  const password = "correct horse battery staple";
  const username = `u${randomUUID().slice(0, 8)}`;
  await new Client(url).register(username, `${username}@example.com`, password);
  const { key } = await new Client(url, { username, password }).createApiKey("readme");
  for (const code of examples) {
    // In a file of this folder, from where the package finds itself by its name.
    const file = new URL(`example-${randomUUID()}.mjs`, folder);
    t.after(() => rm(file, { force: true }));
    const unique = `a${randomUUID().slice(0, 8)}`;
    await writeFile(file, code.replaceAll("http://127.0.0.1:8080", url).replaceAll('"ada', `"${unique}`));
    const { stdout } = await promisify(execFile)(process.execPath, [file.pathname], { env: { ...process.env, PYCALC_API_KEY: key } });
    for (const [, shown] of code.matchAll(/console\.log\(.*\); \/\/ (.*)$/gm)) {
      assert.ok(stdout.includes(shown.replaceAll(", ", "\n")), `${shown} in ${stdout}`);
    }
  }
});
