import { QmpProtocolError } from './errors.ts';

const newline = 0x0a;
const carriageReturn = 0x0d;

/**
 * The longest message that is read, in bytes. The longest that QEMU has reason to send, its whole schema, is 0.2 MB; QEMU
 * itself refuses more than 64 MiB in one token.
 */
export const defaultMessageLimit = 64 * 1024 * 1024;

/**
 * Cuts the stream into lines: a monitor in control mode sends one message per line (unless started with `pretty=on`).
 * Decodes whole lines only, so that it makes no difference where the reads cut a character.
 */
export class LineReader {
  readonly #limit: number;
  /** Pieces of a line whose end has not come. Joined once, so that a long line costs no more than its length. */
  #pieces: Buffer[] = [];
  #length = 0;

  constructor(limit = defaultMessageLimit) {
    this.#limit = limit;
  }

  /**
   * The lines that end within `bytes`, without their ends and without empty ones.
   * @throws QmpProtocolError when a line is longer than the limit, ended or not
   */
  *push(bytes: Buffer): Generator<string> {
    let start = 0;
    for (;;) {
      const end = bytes.indexOf(newline, start);
      this.#add(bytes.subarray(start, end < 0 ? bytes.length : end));
      if (end < 0) return;
      const line = this.#take();
      if (line !== '') yield line;
      start = end + 1;
    }
  }

  /** What has come of a line that has not ended. */
  get rest(): string {
    return Buffer.concat(this.#pieces).toString('utf8');
  }

  #add(piece: Buffer): void {
    if (piece.length === 0) return;
    this.#length += piece.length;
    if (this.#length > this.#limit) {
      const begin =
        Buffer.concat(this.#pieces.slice(0, 1)).toString('utf8') || piece.toString('utf8', 0, 200);
      throw new QmpProtocolError(`a message of more than ${this.#limit} bytes came: ${shorten(begin)}`);
    }
    this.#pieces.push(piece);
  }

  #take(): string {
    const [first] = this.#pieces;
    const whole = this.#pieces.length === 1 && first ? first : Buffer.concat(this.#pieces, this.#length);
    this.#pieces = [];
    this.#length = 0;
    const length = whole.at(-1) === carriageReturn ? whole.length - 1 : whole.length;
    return whole.toString('utf8', 0, length);
  }
}

/** For a message to a person: the beginning, in one line, without control characters. */
export function shorten(text: string, length = 80): string {
  const begin = text.slice(0, length).replaceAll(/[\p{Cc}\p{Cf}\p{Cs}]/gu, '�');
  return begin.length < text.length ? `${begin}… (${text.length} characters)` : begin;
}
