import { DigestMismatch, ProblemError } from "./errors.js";
import { type RetryPolicy, Retries } from "./retries.js";
import type { components } from "./schema.js";
import { Sha256 } from "./sha256.js";
import type { Transport } from "./transport.js";

/**
 * Yield the digits of a recorded calculation in parts; after a cut connection go on where it was.
 *
 * Throws DigestMismatch at the end where their SHA-256 is not the recorded one.
 */
export async function* digitsOf(
  transport: Transport, policy: RetryPolicy, id: string, signal?: AbortSignal,
): AsyncGenerator<string, void, void> {
  const path = `/calculations/${encodeURIComponent(id)}`;
  // Not from Repr-Digest: the service sends none with compressed digits, which browsers always ask for.
  const { sha256 } = await transport.json<components["schemas"]["HistoryItem"]>(path, { signal });
  const retries = new Retries(policy, signal);
  const decoder = new TextDecoder();
  const hash = new Sha256();
  let received = 0;
  let tag: string | null = null;
  for (let ended = false; !ended; ) {
    // A compressed representation has other byte positions.
    const headers: Record<string, string> = { Accept: "text/plain", "Accept-Encoding": "identity" };
    if (received) headers["Range"] = `bytes=${received}-`;
    // The digits of a calculation never change, so their ETag only guards against another service at this URL. A weak one,
    // which a proxy that compresses makes of it, never matches.
    if (received && tag?.startsWith('"')) headers["If-Match"] = tag;
    let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
    try {
      const response = await transport.send(`${path}/digits`, { headers, signal });
      tag = response.headers.get("ETag");
      let repeated = response.status === 206 ? 0 : received; // a proxy may ignore the range
      reader = response.body!.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        ended = done;
        if (done) break;
        const added = value.subarray(repeated);
        repeated -= value.byteLength - added.byteLength;
        if (!added.byteLength) continue;
        received += added.byteLength;
        hash.update(added);
        retries.progressed();
        yield decoder.decode(added, { stream: true });
      }
    } catch (error) {
      // There are no bytes behind those that have come: only the end of the body was lost.
      ended = received > 0 && error instanceof ProblemError && error.status === 416;
      if (!ended) await retries.wait(error);
    } finally {
      await reader?.cancel().catch(() => undefined); // stops the download where the caller has seen enough
    }
  }
  if (sha256 != null && hash.hex() !== sha256) throw new DigestMismatch(id);
}
