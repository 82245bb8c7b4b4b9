import type { Transport } from "./transport.js";

/** Yield the digits of a recorded calculation in parts; after a cut connection go on where it was. */
export async function* digitsOf(transport: Transport, id: string, signal?: AbortSignal): AsyncGenerator<string, void, void> {
  const decoder = new TextDecoder();
  let received = 0;
  let tag = "";
  for (;;) {
    const response = await transport.retried(signal, () => {
      // The digits of a calculation never change, so its ETag only guards against another service at this URL.
      const rest: Record<string, string> = received ? { Range: `bytes=${received}-`, "If-Match": tag } : {};
      // A compressed representation has other byte positions.
      const headers = { Accept: "text/plain", "Accept-Encoding": "identity", ...rest };
      return transport.send(`/calculations/${encodeURIComponent(id)}/digits`, { headers, signal });
    });
    tag = response.headers.get("ETag") ?? "";
    const before = received;
    try {
      const reader = response.body!.getReader();
      try {
        for (;;) {
          const { done, value } = await reader.read();
          if (done) return;
          received += value.byteLength;
          yield decoder.decode(value, { stream: true });
        }
      } finally {
        await reader.cancel().catch(() => undefined); // stops the download where the caller has seen enough
      }
    } catch (error) {
      const cut = error instanceof TypeError && !signal?.aborted;
      if (!cut || received === before) throw error;
    }
  }
}

