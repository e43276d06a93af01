import type { Client } from '@vmo/client';
import { LogStream, type JobEvent, type JobId } from '@vmo/contract';
import { requireNoCsv, type Cli } from '../cli.ts';
import { write } from '../world.ts';
import { followJob, tellConnection } from './follow.ts';
import { createJsonSink, createLineSink, createStreamSink, onlyStreams, type Sink } from './sinks.ts';
import { findStart, fromLine, type StartOptions } from './start-line.ts';

export interface ShowLogOptions extends StartOptions {
  follow: boolean;
  timestamps: boolean;
  /** Everything on stdout, each line with its stream in front. */
  isLabelled?: boolean;
  /** Seconds for which a server that is away is waited for. */
  patience: number;
}

const eventsPerPage = 200;
const labelWidth = Math.max(...LogStream.options.map((stream) => stream.length));

/** Shows the log of a job: what is stored, and with `follow` all that comes, until its end. */
export async function showLog(cli: Cli, jobId: JobId, options: ShowLogOptions): Promise<void> {
  requireNoCsv(cli);
  const client = cli.client();
  const isPart = options.limit !== undefined || options.since !== undefined;
  let sink = chooseSink(cli, client, jobId, options, !isPart);
  let afterSeq = 0;
  if (isPart) {
    const start = await findStart(client, jobId, options);
    sink = fromLine(sink, start.line);
    afterSeq = start.afterSeq;
    if (cli.paint.isOn) await write(cli.world.stdout, start.style);
  }
  if (!options.follow) {
    await showStored(client, jobId, afterSeq, sink);
    await sink.finish();
    return;
  }
  const connection = cli.connect();
  const stop = tellConnection(cli, connection);
  try {
    await followJob(connection, { jobId, afterSeq, sink, patience: options.patience });
  } finally {
    stop();
    connection.close();
  }
}

function chooseSink(
  cli: Cli,
  client: Client,
  jobId: JobId,
  options: ShowLogOptions,
  isFromBeginning: boolean,
): Sink {
  const { stdout, stderr } = cli.world;
  const outputs = { stdout, stderr };
  const prefix = ({ ts, stream }: JobEvent) =>
    (options.timestamps ? `${cli.paint.dim(ts)} ` : '') +
    (options.isLabelled ? `${label(cli, stream)} ` : '');
  const all =
    cli.output !== 'table'
      ? createJsonSink(stdout)
      : options.timestamps || options.isLabelled
        ? createLineSink(outputs, prefix, options.isLabelled ? new Set() : undefined)
        : createStreamSink({ client, jobId, outputs }, isFromBeginning);
  const streams: ReadonlySet<LogStream> | null = options.streams === null ? null : new Set(options.streams);
  return streams === null ? all : onlyStreams(all, streams);
}

function label({ paint }: Cli, stream: LogStream): string {
  const words = `${stream.padEnd(labelWidth)} |`;
  return stream === 'stdout' ? words : stream === 'stderr' ? paint.bad(words) : paint.dim(words);
}

/** What is stored now: what comes while we read is left out, or reading a busy log would never end. */
async function showStored(client: Client, jobId: JobId, from: number, sink: Sink): Promise<void> {
  let afterSeq = from;
  let lastSeq: number | null = null;
  while (lastSeq === null || afterSeq < lastSeq) {
    const page = await client.call('listEvents', {
      params: { jobId },
      query: { afterSeq, limit: eventsPerPage },
    });
    lastSeq ??= page.lastSeq;
    if (page.events.length === 0) return;
    await sink.take(page.events);
    afterSeq = page.events.at(-1)?.seq ?? lastSeq;
  }
}
