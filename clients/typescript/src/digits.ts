import { DigestMismatch } from "./errors.js";
import type { components } from "./schema.js";
import { Sha256 } from "./sha256.js";
import type { Transport } from "./transport.js";

/**
 * Yield the digits of a recorded calculation in parts; after a cut connection go on where it was.
 *
 * Throws DigestMismatch at the end where their SHA-256 is not the recorded one.
 */
export async function* digitsOf(transport: Transport, id: string, signal?: AbortSignal): AsyncGenerator<string, void, void> {
  const path = `/calculations/${encodeURIComponent(id)}`;
  // Not from Repr-Digest: in a browser, which compresses downloads, that is the digest of the compressed digits.
  const { sha256 } = await transport.json<components["schemas"]["HistoryItem"]>(path, { signal });
  const decoder = new TextDecoder();
  const hash = new Sha256();
  let received = 0;
  let tag = "";
  for (let ended = false; !ended; ) {
    const response = await transport.retried(signal, () => {
      // The digits of a calculation never change, so its ETag only guards against another service at this URL.
      const rest: Record<string, string> = received ? { Range: `bytes=${received}-`, "If-Match": tag } : {};
      // A compressed representation has other byte positions.
      const headers = { Accept: "text/plain", "Accept-Encoding": "identity", ...rest };
      return transport.send(`${path}/digits`, { headers, signal });
    });
    tag = response.headers.get("ETag") ?? "";
    const before = received;
    const reader = response.body!.getReader();
    try {
      for (;;) {
        const { done, value } = await reader.read();
        ended = done;
        if (done) break;
        received += value.byteLength;
        hash.update(value);
        yield decoder.decode(value, { stream: true });
      }
    } catch (error) {
      const cut = error instanceof TypeError && !signal?.aborted;
      if (!cut || received === before) throw error;
    } finally {
      await reader.cancel().catch(() => undefined); // stops the download where the caller has seen enough
    }
  }
  if (sha256 != null && hash.hex() !== sha256) throw new DigestMismatch(id);
}
