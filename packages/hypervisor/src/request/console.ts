import { readFile } from 'node:fs/promises';
import { lineText } from '@vmo/ansi';
import { Tail } from './report-file.ts';

/** What Linux says last, with or without its time in front. */
const panic = /(?:^|\n|\] )(Kernel panic - not syncing: [^\r\n]*)/;
const carryBytes = 512;
const lastLines = 5;
const maxLine = 200;
/** Of one that is longer, its beginning is shown, and its end: there QEMU says what was wrong. */
const beginning = 60;

/** Looks for the last words of a kernel on the serial console. */
export class PanicWatch {
  readonly #tail: Tail;
  #carry = '';

  constructor(path: string) {
    this.#tail = new Tail(path);
  }

  /** The kernel's words; null: it has said nothing of the kind. */
  look(): string | null {
    const fresh = this.#tail.read().toString('latin1');
    if (fresh === '') return null;
    const text = this.#carry + fresh;
    this.#carry = text.slice(-carryBytes);
    return panic.exec(text)?.[1] ?? null;
  }

  close(): void {
    this.#tail.close();
  }
}

/** The last lines that are not empty, for a sentence; null: there are none. */
export async function lastWords(path: string): Promise<string | null> {
  const text = await readFile(path, 'utf8').catch(() => '');
  const lines = text
    .slice(-16 * 1024)
    .split(/\r?\n|\r/)
    .map((line) => shorten(lineText(line).trim()))
    .filter((line) => line !== '');
  return lines.length === 0 ? null : lines.slice(-lastLines).join(' / ');
}

const shorten = (line: string): string =>
  line.length <= maxLine ? line : `${line.slice(0, beginning)} … ${line.slice(beginning - maxLine)}`;
