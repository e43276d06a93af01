import type { Client } from '@vmo/client';
import type { JobEvent, JobId, LogLine, LogStream } from '@vmo/contract';
import type { Sink } from './sinks.ts';

/** Where to begin in a log, so that exactly the lines from this one on are shown. */
export interface Start {
  afterSeq: number;
  /** Its first line, by number. */
  line: number;
  /** The escape sequence for the style that it begins with. */
  style: string;
}

export interface StartOptions {
  streams: readonly LogStream[] | null;
  /** The last lines, so many. */
  limit?: number | undefined;
  /** Lines from this moment on, in milliseconds since the epoch. */
  since?: number | undefined;
}

/**
 * Finds the line by halving and then, likewise, the event in which it begins: a few dozen small questions, however
 * long the log. Events rather than lines are shown, since only they go on without a gap while more is written.
 */
export async function findStart(client: Client, jobId: JobId, options: StartOptions): Promise<Start> {
  const { streams, limit, since } = options;
  const read = (query: { from?: number; last?: number; limit?: number }) =>
    client.call('listLines', {
      params: { jobId },
      query: { ...query, lineBytes: 1, ...(streams === null ? {} : { streams: streams.join(',') }) },
    });
  const lineAt = async (from: number) => (await read({ from, limit: 1 })).lines[0];

  const { count, lineCount, lastSeq } = await read({ last: 1 });
  const first =
    since === undefined ? 1 : await halve(1, count + 1, async (from) => isSince(await lineAt(from), since));
  const position = Math.max(first, limit === undefined ? 1 : count - limit + 1);
  const line = position > count ? undefined : await lineAt(position);
  // None yet that fits: what comes from now on.
  if (!line) return { afterSeq: lastSeq, line: lineCount + 1, style: '' };
  const seq = await halve(1, lastSeq, async (at) => {
    const { events } = await client.call('listEvents', {
      params: { jobId },
      query: { afterSeq: at, limit: 1 },
    });
    const next = events[0];
    return !next || next.linesBefore >= line.number;
  });
  return { afterSeq: seq - 1, line: line.number, style: line.style };
}

const isSince = (line: LogLine | undefined, since: number): boolean =>
  line === undefined || Date.parse(line.ts) >= since;

/** The first number from `low` on for which it holds, `high` if for none before; once true it stays so. */
async function halve(low: number, high: number, holds: (at: number) => Promise<boolean>): Promise<number> {
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (await holds(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Leaves out what belongs to earlier lines, also where such a line is gone on with later. */
export function fromLine(sink: Sink, line: number): Sink {
  return {
    take: (events) => sink.take(events.flatMap((event) => trim(event, line))),
    finish: sink.finish,
  };
}

function trim(event: JobEvent, line: number): JobEvent[] {
  const { linesBefore, continues } = event;
  if (linesBefore >= line && (continues === null || continues >= line)) return [event];
  const parts = event.chunk.split(/(?<=\n)/);
  const numberOf = (index: number) =>
    continues === null ? linesBefore + 1 + index : index === 0 ? continues : linesBefore + index;
  const chunk = parts.filter((_, index) => numberOf(index) >= line).join('');
  return chunk === '' ? [] : [{ ...event, chunk }];
}
