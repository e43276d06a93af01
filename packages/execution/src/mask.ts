/** Lines of a secret that are shorter than this are only masked together with the rest of it. */
const minLineLength = 8;
const star = 0x2a;

/**
 * Hides secrets in output: each of their bytes becomes `*`, so that offsets, sizes and line lengths stay what they are.
 * A value of several lines (a key in PEM form) is also hidden line by line, since tools print it so.
 */
export class Mask {
  /** Longest first: where one secret begins with another, all of it is hidden. */
  readonly #secrets: readonly Buffer[];

  constructor(values: readonly string[]) {
    const parts = values.flatMap((value) => [
      value,
      ...value.split(/\r?\n/).filter((line) => line.length >= minLineLength),
    ]);
    this.#secrets = [...new Set(parts)]
      .filter((part) => part !== '')
      .map((part) => Buffer.from(part))
      .sort((a, b) => b.length - a.length);
  }

  /** Bytes before a place that decide whether it lies in a secret: who hides from there on must look at them as well. */
  get context(): number {
    return Math.max(0, (this.#secrets[0]?.length ?? 0) - 1);
  }

  /** Hides every whole secret, in place. */
  hide(bytes: Buffer): void {
    for (const [from, to] of this.#find(bytes)) bytes.fill(star, from, to);
  }

  text(line: string): string {
    const bytes = Buffer.from(line);
    this.hide(bytes);
    return bytes.toString();
  }

  /**
   * How many bytes at the end may be the beginning of a secret whose rest has not been written yet: they must wait, or
   * a secret could be read in two pieces. To be asked before anything is hidden.
   */
  heldBack(bytes: Buffer): number {
    let held = 0;
    for (const secret of this.#secrets) {
      const most = Math.min(secret.length - 1, bytes.length);
      for (let length = most; length > held; length--) {
        if (bytes.compare(secret, 0, length, bytes.length - length, bytes.length) === 0) {
          held = length;
          break;
        }
      }
    }
    return held;
  }

  /** All places first: hiding one secret must not break another that overlaps it. */
  #find(bytes: Buffer): [number, number][] {
    const found: [number, number][] = [];
    for (const secret of this.#secrets) {
      for (let at = bytes.indexOf(secret); at !== -1; at = bytes.indexOf(secret, at + 1))
        found.push([at, at + secret.length]);
    }
    return found;
  }
}
