import { survey } from './survey.ts';

/** A piece of a log as it goes to the thread that looks through it. */
export interface ScanEvent {
  /** Index in `LogStream`. */
  stream: number;
  bytes: Buffer;
  /** Lines of the whole log that began before it. */
  linesBefore: number;
  /** The number of the line that it goes on with; null: it begins one. */
  continues: number | null;
}

/** Whole lines that follow one another, with line feeds between them and none at the end. */
export interface Block {
  text: string;
  /** Number of the first line. */
  number: number;
  /** Nothing in it but printable ASCII, tabs and line feeds; false: not known. */
  isPlain: boolean;
}

/** Of a line that is longer than this and lies in several chunks, only the beginning is looked at. */
export const maxSearchedBytes = 1024 * 1024;
const newline = 0x0a;

interface Carry {
  parts: Buffer[];
  length: number;
  number: number;
  isCut: boolean;
}

/**
 * Makes whole lines of the events of a log, which come in order. What a chunk begins and the next one ends becomes a
 * block of its own; all lines that lie within one chunk become one block, since most searches need not look at them
 * one by one.
 */
export class LineWalker {
  readonly #carries = new Map<number, Carry>();
  /** Lines that were given cut: they are longer than what is kept of one. */
  longLines = 0;

  add({ stream, bytes, linesBefore, continues }: ScanEvent): Block[] {
    const blocks: Block[] = [];
    let at = 0;
    if (continues !== null) {
      const end = bytes.indexOf(newline);
      const carry = this.#carries.get(stream);
      // A line that began before the first event we were given is not ours to look at.
      if (carry) keep(carry, end === -1 ? bytes : bytes.subarray(0, end));
      if (end === -1) return [];
      blocks.push(...this.#end(stream));
      at = end + 1;
    } else {
      // What was left out of the log took the rest of the line with it.
      blocks.push(...this.#end(stream));
    }
    const last = bytes.lastIndexOf(newline);
    let number = linesBefore + 1;
    if (last >= at) {
      const { lineFeeds, isPlain } = survey(bytes.subarray(at, last + 1));
      blocks.push({ text: bytes.toString(isPlain ? 'latin1' : 'utf8', at, last), number, isPlain });
      number += lineFeeds;
      at = last + 1;
    }
    if (at < bytes.length) {
      const carry = { parts: [], length: 0, number, isCut: false };
      keep(carry, bytes.subarray(at));
      this.#carries.set(stream, carry);
    }
    return blocks;
  }

  /** The lines that have not ended, as far as they are there. */
  flush(): Block[] {
    return [...this.#carries.keys()].flatMap((stream) => this.#end(stream));
  }

  #end(stream: number): Block[] {
    const carry = this.#carries.get(stream);
    if (!carry) return [];
    this.#carries.delete(stream);
    if (carry.isCut) this.longLines++;
    return [toBlock(carry)];
  }
}

function keep(carry: Carry, bytes: Buffer): void {
  const room = maxSearchedBytes - carry.length;
  carry.isCut ||= bytes.length > room;
  if (room <= 0 || bytes.length === 0) return;
  const part = bytes.subarray(0, room);
  carry.parts.push(part);
  carry.length += part.length;
}

const toBlock = ({ parts, number }: Carry): Block => ({
  text: Buffer.concat(parts).toString('utf8'),
  number,
  isPlain: false,
});
