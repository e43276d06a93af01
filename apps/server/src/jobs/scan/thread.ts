/**
 * The thread that looks through logs: it is given a task, then pages of stored events, one at a time, and answers each.
 * It imports little, since a search waits for its start.
 */
import { parentPort } from 'node:worker_threads';
import { zstdDecompressSync } from 'node:zlib';
import { compileQuery, type TextQuery } from '@vmo/ansi';
import { codecs } from '../codec.ts';
import { findInBlock } from './find-in-block.ts';
import { LineWalker, type Block, type ScanEvent } from './line-walker.ts';
import { MarkScanner } from './marks-in-block.ts';
import type { Order, Page, Reply, Task } from './messages.ts';

type Work = (events: ReturnType<typeof unpack>, page: Pick<Page, 'jobId' | 'isBefore' | 'last'>) => Reply;

function unpack({ bytes, events }: Page): (ScanEvent & { isSystem: boolean })[] {
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  return events.map(({ seq, stream, isSystem, codec, length, linesBefore, continues }) => {
    const chunk = all.subarray(at, at + length);
    at += length;
    return { stream, isSystem, bytes: decode(seq, codec, chunk), linesBefore, continues };
  });
}

/** What cannot be read has no lines to look at; whoever reads the log is told. */
function decode(seq: number, codec: number, chunk: Buffer): Buffer {
  if (codec === codecs.raw) return chunk;
  try {
    return zstdDecompressSync(chunk);
  } catch {
    return Buffer.from(`[event ${String(seq)} cannot be read]\n`);
  }
}

function* walk(walker: LineWalker, events: readonly ScanEvent[], last: Page['last']): Generator<Block> {
  for (const event of events) yield* walker.add(event);
  if (last) yield* walker.flush();
}

function find(query: TextQuery): Work {
  const walker = new LineWalker();
  const expression = compileQuery(query);
  if (!(expression instanceof RegExp)) throw new Error(expression.error);
  return (events, { isBefore, last }) => {
    const lines: [number, number][] = [];
    if (isBefore) {
      for (const event of events) walker.add(event);
      return { kind: 'find', lines, longLines: 0 };
    }
    const longBefore = walker.longLines;
    for (const block of walk(walker, events, last))
      findInBlock(query, expression, block, (line, count) => lines.push([line, count]));
    lines.sort(([a], [b]) => a - b); // a line that two chunks share is whole later than those in the second one
    return { kind: 'find', lines, longLines: walker.longLines - longBefore };
  };
}

function marks(): Work {
  const logs = new Map<string, { walker: LineWalker; scanner: MarkScanner }>();
  return (events, { jobId, last }) => {
    const log = logs.get(jobId) ?? { walker: new LineWalker(), scanner: new MarkScanner() };
    logs.set(jobId, log);
    const { walker, scanner } = log;
    // The cockpit's own words are no messages of a compiler, even where they quote the command.
    const output = events.filter(({ isSystem }) => !isSystem);
    for (const block of walk(walker, output, last)) scanner.add(block);
    if (last) {
      scanner.finish(last.lineCount);
      logs.delete(jobId);
    }
    const { problems, groups, counts, truncated } = scanner;
    return { kind: 'marks', problems, groups, errors: counts.error, warnings: counts.warning, truncated };
  };
}

function workOf(task: Task): Work {
  switch (task.kind) {
    case 'find':
      return find(task.query);
    case 'marks':
      return marks();
  }
}

let work: Work | null = null;
parentPort?.postMessage('ready');
parentPort?.on('message', (order: Order) => {
  if (order.kind === 'task') work = workOf(order.task);
  else if (work) parentPort?.postMessage(work(unpack(order.page), order.page));
});
