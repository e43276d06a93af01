import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { addLine, emptyReport, maxReportBytes, type Report } from './report.ts';

const newline = 0x0a;
const readBytes = 64 * 1024;

/** Reads what has come since the last time of a file that only grows; where we stand, since it is little and in memory. */
export class Tail {
  readonly #path: string;
  #fd: number | null = null;
  #offset = 0;

  constructor(path: string) {
    this.#path = path;
  }

  /** Empty: nothing new, or there is no such file yet. */
  read(limit = Infinity): Buffer {
    try {
      this.#fd ??= openSync(this.#path, 'r');
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return Buffer.alloc(0);
      throw error;
    }
    const parts: Buffer[] = [];
    while (this.#offset < limit && fstatSync(this.#fd).size > this.#offset) {
      const buffer = Buffer.allocUnsafe(readBytes);
      const length = readSync(this.#fd, buffer, 0, buffer.length, this.#offset);
      if (length === 0) break;
      this.#offset += length;
      parts.push(buffer.subarray(0, length));
    }
    return Buffer.concat(parts);
  }

  close(): void {
    if (this.#fd !== null) closeSync(this.#fd);
    this.#fd = null;
  }
}

/** The report of the runner as it grows. */
export class ReportFile {
  readonly report: Report = emptyReport();
  readonly #tail: Tail;
  #rest = Buffer.alloc(0);

  constructor(path: string) {
    this.#tail = new Tail(path);
  }

  /** @returns whether anything has come */
  read(): boolean {
    const bytes = this.#tail.read(maxReportBytes);
    if (bytes.length === 0) return false;
    const all = Buffer.concat([this.#rest, bytes]);
    const end = all.lastIndexOf(newline) + 1;
    this.#rest = all.subarray(end);
    for (const line of all.toString('utf8', 0, end).split('\n')) addLine(this.report, line);
    return end > 0;
  }

  close(): void {
    this.#tail.close();
  }
}
