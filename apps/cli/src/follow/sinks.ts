import type { Client } from '@vmo/client';
import type { JobEvent, JobId, LogStream } from '@vmo/contract';
import { write } from '../world.ts';

/** Where events of a log go. */
export interface Sink {
  take(events: readonly JobEvent[]): Promise<void>;
  /** After the last event. */
  finish(): Promise<void>;
}

export interface Outputs {
  stdout: NodeJS.WritableStream & { isTTY?: boolean };
  stderr: NodeJS.WritableStream & { isTTY?: boolean };
}

/** What the command wrote to stderr, and what is said about it, goes to stderr; all else is output. */
const toStderr: ReadonlySet<LogStream> = new Set(['stderr', 'system']);
/** Output is what the commands of a request wrote to stdout, and nothing that is around it. */
export const allButStdout: ReadonlySet<LogStream> = new Set(['stderr', 'system', 'boot', 'command']);

/**
 * Each stream to where it belongs, as text comes.
 *
 * Events are text, in which bytes that are not UTF-8 appear as U+FFFD. Where a program reads (no terminal), such a
 * stream waits at the first of them, and its rest comes byte for byte from the stored log at the end: what arrives is
 * what the command wrote. Possible only from the first event on.
 */
export function createStreamSink(
  { client, jobId, outputs }: { client: Client; jobId: JobId; outputs: Outputs },
  isFromBeginning: boolean,
  forStderr = toStderr,
): Sink {
  const written = new Map<LogStream, number>();
  const waiting = new Set<LogStream>();
  const outputOf = (stream: LogStream) => (forStderr.has(stream) ? outputs.stderr : outputs.stdout);

  async function sendRest(stream: LogStream): Promise<void> {
    const response = await client.download('getLog', { params: { jobId }, query: { stream } });
    let skip = written.get(stream) ?? 0;
    const reader = response.body?.getReader();
    for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) {
      const rest = part.value.subarray(Math.min(skip, part.value.length));
      skip -= part.value.length - rest.length;
      await write(outputOf(stream), rest);
    }
  }

  return {
    async take(events) {
      for (const { stream, chunk } of events) {
        if (waiting.has(stream)) continue;
        const output = outputOf(stream);
        if (isFromBeginning && output.isTTY !== true && chunk.includes('\uFFFD')) {
          waiting.add(stream);
          continue;
        }
        written.set(stream, (written.get(stream) ?? 0) + Buffer.byteLength(chunk));
        await write(output, chunk);
      }
    },
    async finish() {
      for (const stream of waiting) await sendRest(stream);
    },
  };
}

/** Puts something in front of every line, such as the name of the machine; a line is written when it is whole. */
export function createLineSink(
  outputs: Outputs,
  prefix: (event: JobEvent) => string,
  forStderr = toStderr,
): Sink {
  const open = new Map<LogStream, { text: string; prefix: string }>();
  const outputOf = (stream: LogStream) => (forStderr.has(stream) ? outputs.stderr : outputs.stdout);
  return {
    async take(events) {
      for (const event of events) {
        const before = open.get(event.stream);
        const lines = ((before?.text ?? '') + event.chunk).split('\n');
        const rest = lines.pop() ?? '';
        const words = prefix(event);
        // A line is named after its first byte.
        const whole = lines.map((line, at) => `${at === 0 ? (before?.prefix ?? words) : words}${line}\n`);
        if (rest === '') open.delete(event.stream);
        else
          open.set(event.stream, {
            text: rest,
            prefix: lines.length === 0 ? (before?.prefix ?? words) : words,
          });
        await write(outputOf(event.stream), whole.join(''));
      }
    },
    async finish() {
      for (const [stream, { text, prefix: words }] of open)
        await write(outputOf(stream), `${words}${text}\n`);
      open.clear();
    },
  };
}

/** One JSON object a line: for programs that want to know what came when and from where. */
export function createJsonSink(stdout: NodeJS.WritableStream): Sink {
  return {
    async take(events) {
      const lines = events.map(({ seq, ts, stream, chunk }) =>
        JSON.stringify({ seq, ts, stream, text: chunk }),
      );
      await write(stdout, lines.map((line) => `${line}\n`).join(''));
    },
    finish: () => Promise.resolve(),
  };
}

/** Only these streams. */
export function onlyStreams(sink: Sink, streams: ReadonlySet<LogStream>): Sink {
  return {
    take: (events) => sink.take(events.filter(({ stream }) => streams.has(stream))),
    finish: sink.finish,
  };
}
