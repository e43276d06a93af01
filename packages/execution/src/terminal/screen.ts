import headless from '@xterm/headless';
import { incompleteTail } from '../utf8.ts';
import { isGround } from './screen-internals.ts';
import { serializeTerminal } from './serialize.ts';

/** Rows above the screen that are given to a browser with it; the whole log is in the database. */
const scrollbackRows = 1000;

export interface Snapshot {
  data: string;
  cols: number;
  rows: number;
  offset: number;
}

const introducersBehindC2 = new Set<number | undefined>([0x90, 0x98, 0x9b, 0x9d, 0x9e, 0x9f]);

/**
 * The first byte of the last escape sequence in `bytes`: ESC or one of the C1 controls that begin one (in UTF-8 two
 * bytes); each of them ends whatever sequence was open before. -1: none begins here.
 */
function lastIntroducer(bytes: Uint8Array): number {
  for (let at = bytes.length - 1; at >= 0; at--) {
    if (bytes[at] === 0x1b) return at;
    if (bytes[at] === 0xc2 && introducersBehindC2.has(bytes[at + 1])) return at;
  }
  return -1;
}

/** What a terminal looks like after the bytes that it was given. */
export class Screen {
  readonly #terminal: headless.Terminal;
  /** Bytes given, without `#tail`. */
  #given = 0;
  /** Bytes after which the screen looks as it does: the end of a character, and of an escape sequence. */
  #offset = 0;
  #tail: Buffer = Buffer.alloc(0);

  /** @param onReply what the terminal answers to the program's queries, such as where the cursor is */
  constructor(cols: number, rows: number, onReply: (data: string) => void) {
    this.#terminal = new headless.Terminal({
      cols,
      rows,
      scrollback: scrollbackRows,
      allowProposedApi: true,
      logLevel: 'off',
    });
    this.#terminal.onData(onReply);
  }

  get size(): { cols: number; rows: number } {
    return { cols: this.#terminal.cols, rows: this.#terminal.rows };
  }

  /** Resolves when the bytes are drawn. */
  draw(bytes: Buffer): Promise<void> {
    const whole = Buffer.concat([this.#tail, bytes]);
    const tail = incompleteTail(whole);
    const complete = whole.subarray(0, whole.length - tail);
    // A copy: a view of three bytes would keep the whole buffer.
    this.#tail = Buffer.from(whole.subarray(complete.length));
    const begin = this.#given;
    this.#given += complete.length;
    const end = this.#given;
    return new Promise((resolve) => {
      this.#terminal.write(complete.toString('utf8'), () => {
        if (isGround(this.#terminal)) {
          this.#offset = end;
        } else {
          // An open sequence has changed nothing yet: who continues here must hear it from its beginning.
          const introducer = lastIntroducer(complete);
          if (introducer >= 0) this.#offset = begin + introducer;
        }
        resolve();
      });
    });
  }

  /** Takes effect after everything given before, as it does for the program. */
  resize(cols: number, rows: number): Promise<void> {
    return new Promise((resolve) => {
      this.#terminal.write('', () => {
        this.#terminal.resize(cols, rows);
        resolve();
      });
    });
  }

  /** The screen after everything given before. */
  snapshot(): Promise<Snapshot> {
    return new Promise((resolve) => {
      this.#terminal.write('', () => {
        resolve({ data: serializeTerminal(this.#terminal), ...this.size, offset: this.#offset });
      });
    });
  }
}
