const K = new Uint32Array(64);
const START = new Uint32Array(8);

/** Fill the constants: the first 32 bits of the fractional parts of the cube and square roots of the first primes. */
for (let n = 2, count = 0; count < 64; n++) {
  let prime = true;
  for (let factor = 2; factor * factor <= n && prime; factor++) prime = n % factor !== 0;
  if (!prime) continue;
  if (count < 8) START[count] = fraction(Math.sqrt(n));
  K[count++] = fraction(Math.cbrt(n));
}

function fraction(value: number): number {
  return (value - Math.floor(value)) * 2 ** 32;
}

/** SHA-256 (FIPS 180-4) of bytes that come in parts; `crypto.subtle` needs them all at once, and a secure context. */
export class Sha256 {
  readonly #state = START.slice();
  readonly #block = new Uint8Array(64);
  readonly #words = new Uint32Array(64);
  #length = 0;

  update(data: Uint8Array): void {
    for (let from = 0; from < data.length; ) {
      const used = this.#length % 64;
      const part = data.subarray(from, from + 64 - used);
      this.#block.set(part, used);
      this.#length += part.length;
      from += part.length;
      if (used + part.length === 64) this.#compress();
    }
  }

  /** Return the digest in hexadecimal; nothing can be added after it. */
  hex(): string {
    const bits = this.#length * 8;
    const padding = new Uint8Array(((119 - (this.#length % 64)) % 64) + 9);
    padding[0] = 0x80;
    const view = new DataView(padding.buffer);
    view.setUint32(padding.length - 8, Math.floor(bits / 2 ** 32));
    view.setUint32(padding.length - 4, bits >>> 0);
    this.update(padding);
    return Array.from(this.#state, (word) => word.toString(16).padStart(8, "0")).join("");
  }

  #compress(): void {
    const w = this.#words;
    const view = new DataView(this.#block.buffer);
    for (let i = 0; i < 16; i++) w[i] = view.getUint32(4 * i);
    for (let i = 16; i < 64; i++) {
      const a = w[i - 15]!, b = w[i - 2]!;
      w[i] = w[i - 16]! + w[i - 7]! + (rotated(a, 7) ^ rotated(a, 18) ^ (a >>> 3)) + (rotated(b, 17) ^ rotated(b, 19) ^ (b >>> 10));
    }
    let [a, b, c, d, e, f, g, h] = this.#state as unknown as [number, number, number, number, number, number, number, number];
    for (let i = 0; i < 64; i++) {
      const first = h + (rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)) + ((e & f) ^ (~e & g)) + K[i]! + w[i]!;
      const second = (rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + first) | 0, c, b, a, (first + second) | 0];
    }
    [a, b, c, d, e, f, g, h].forEach((value, i) => { this.#state[i]! += value; });
  }
}

function rotated(word: number, by: number): number {
  return (word >>> by) | (word << (32 - by));
}
