/**
 * A byte stream over SSH in segments that a marker separates. What comes before the first one is the noise of a login
 * shell. The marker is random, so that no output can hold it by chance; raw bytes pass as they are, at once: only
 * bytes that may be the beginning of a marker wait for the next ones.
 */
export class SegmentSplitter {
  readonly #marker: Buffer;
  #held: Buffer = Buffer.alloc(0);
  #segment = 0;

  constructor(nonce: string) {
    this.#marker = Buffer.from(markerOf(nonce));
  }

  /** The pieces in `chunk`, each with the number of its segment; an empty piece tells that a segment has begun. */
  *push(chunk: Buffer): Generator<{ segment: number; bytes: Buffer }> {
    let rest = this.#held.length > 0 ? Buffer.concat([this.#held, chunk]) : chunk;
    for (;;) {
      const at = rest.indexOf(this.#marker);
      if (at < 0) break;
      if (at > 0) yield { segment: this.#segment, bytes: rest.subarray(0, at) };
      this.#segment += 1;
      yield { segment: this.#segment, bytes: rest.subarray(0, 0) };
      rest = rest.subarray(at + this.#marker.length);
    }
    const held = this.#beginningAtEnd(rest);
    if (rest.length > held) yield { segment: this.#segment, bytes: rest.subarray(0, rest.length - held) };
    this.#held = held > 0 ? Buffer.from(rest.subarray(rest.length - held)) : Buffer.alloc(0);
  }

  /** Length of the longest beginning of the marker that `bytes` ends with. */
  #beginningAtEnd(bytes: Buffer): number {
    for (let length = Math.min(this.#marker.length - 1, bytes.length); length > 0; length--) {
      if (bytes.subarray(bytes.length - length).equals(this.#marker.subarray(0, length))) return length;
    }
    return 0;
  }
}

/** Begins with a byte that text does not hold (record separator), so that text never waits. */
export const markerOf = (nonce: string) => `\u001e${nonce}\n`;
