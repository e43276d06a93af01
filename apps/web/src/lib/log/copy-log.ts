import { maxLines, type Job, type LogStream } from '@vmo/contract';
import type { Client } from '@vmo/client';
import { lineText } from '@vmo/ansi';
import type { LineStore } from './line-store.ts';

/** Longer logs (in bytes) are not copied: a clipboard is no place for them. */
const mostBytes = 20 * 1024 * 1024;
/** Work between two looks at the clock, in milliseconds. */
const budget = 20;

export interface CopyOptions {
  client: Client;
  job: Job;
  store: LineStore;
  /** Streams that are shown; null: all. */
  streams: readonly LogStream[] | null;
}

/**
 * The text of all lines that are shown, without escape sequences.
 * @throws Error, with words for the person, where the log is too long; as the client does.
 */
export async function logText(options: CopyOptions): Promise<string> {
  const { job, store } = options;
  const here = linesHere(store);
  if (here) return (await plain(here)).join('\n');
  if (job.logBytes > mostBytes) {
    const megabytes = Math.round(job.logBytes / 1024 / 1024).toLocaleString();
    throw new Error(`the log has ${megabytes} MB, which is too long for a clipboard. Download it instead.`);
  }
  return (await plain(await linesOfServer(options))).join('\n');
}

/** Every line, when all of them are here. */
function linesHere(store: LineStore): string[] | null {
  if (store.lines < store.count) return null;
  const lines: string[] = [];
  for (let position = 1; position <= store.count; position++) {
    const line = store.at(position);
    if (!line || line.cut) return null;
    lines.push(line.raw);
  }
  return lines;
}

async function linesOfServer({ client, job, streams }: CopyOptions): Promise<string[]> {
  const params = { jobId: job.id };
  const only = streams?.length === 1 ? streams[0] : undefined;
  if (only === 'stdout' || only === 'stderr' || only === 'system') {
    const response = await client.download('getLog', { params, query: { stream: only } });
    return (await response.text()).replace(/\n$/, '').split('\n');
  }
  const lines: string[] = [];
  for (let from = 1; ;) {
    const page = await client.call('listLines', {
      params,
      query: {
        from,
        limit: maxLines,
        lineBytes: mostBytes / 20,
        ...(streams ? { streams: streams.join(',') } : {}),
      },
    });
    for (const { text } of page.lines) lines.push(text);
    from = page.from + page.lines.length;
    if (page.lines.length === 0 || from > page.count) return lines;
  }
}

async function plain(lines: readonly string[]): Promise<string[]> {
  const texts: string[] = [];
  let until = performance.now() + budget;
  for (const [index, line] of lines.entries()) {
    texts.push(lineText(line));
    if (index % 256 !== 0 || performance.now() < until) continue;
    await new Promise((resolve) => setTimeout(resolve));
    until = performance.now() + budget;
  }
  return texts;
}
