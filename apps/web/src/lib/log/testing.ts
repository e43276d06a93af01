import { carryStyle, wholeStyle } from '@vmo/ansi';
import { JobId, type JobEvent, type LinePage, type LogLine, type LogStream } from '@vmo/contract';

export const jobId = JobId.parse('019f0000-0000-7000-8000-000000000001');
export const ts = '2026-01-02T03:04:05.678Z';

/** Counts lines and follows styles as the server does, and keeps them: what pages and events of one log have in common. */
export class FakeLog {
  readonly lines: LogLine[] = [];
  readonly events: JobEvent[] = [];
  readonly #open = new Map<LogStream, LogLine>();
  readonly #styles = new Map<LogStream, string>();

  write(stream: LogStream, chunk: string): JobEvent {
    let line = this.#open.get(stream);
    const carried = this.#styles.get(stream) ?? '';
    let style = line ? carried : wholeStyle(carried);
    const event: JobEvent = {
      jobId,
      seq: this.events.length + 1,
      stream,
      chunk,
      ts,
      linesBefore: this.lines.length,
      continues: line?.number ?? null,
      style,
    };
    const pieces = chunk.split('\n');
    for (const [index, text] of pieces.entries()) {
      const isLast = index === pieces.length - 1;
      if (isLast && text === '') break;
      if (!line) {
        line = { number: this.lines.length + 1, stream, ts, text: '', style, cut: false, open: true };
        this.lines.push(line);
      }
      line.text += text;
      style = carryStyle(style, text);
      if (isLast && stream !== 'system') break;
      style = wholeStyle(style);
      line.open = false;
      line = undefined;
    }
    if (line) this.#open.set(stream, line);
    else this.#open.delete(stream);
    this.#styles.set(stream, style);
    this.events.push(event);
    return event;
  }

  /** As the server would answer now. */
  page(from: number, limit: number, streams: readonly LogStream[] | null = null): LinePage {
    const shown = this.lines.filter(({ stream }) => streams === null || streams.includes(stream));
    return {
      from,
      lines: shown.slice(from - 1, from - 1 + limit).map((line) => ({ ...line })),
      count: shown.length,
      lineCount: this.lines.length,
      lastSeq: this.events.length,
    };
  }
}
