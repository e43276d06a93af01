import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isFinal, type Job } from '@vmo/contract';
import {
  memoryOf,
  noiseCommand,
  noiseDigests,
  seededRandom,
  startFaultProxy,
  startTestServer,
  type FaultProxy,
  type TestServer,
} from '@vmo/testkit';
import { expect, it } from 'vitest';
import { figuresOf, isLong, percentile } from './support/figures.ts';
import { readSome } from './support/follow.ts';
import { ended, getJob, reached, runDirectory, storedDigest, submit } from './support/jobs.ts';

async function proxyOf(server: TestServer): Promise<FaultProxy & { url: string }> {
  const { hostname, port } = new URL(server.url);
  const proxy = await startFaultProxy({ host: hostname, port: Number(port) });
  return Object.assign(proxy, { url: `http://${proxy.host}:${proxy.port}` });
}

/** The command of a job that runs this program, which is kept in a file of its own. */
async function programCommand(server: TestServer, name: string, program: string): Promise<string> {
  const file = join(server.startDirectory, `${name}.mjs`);
  await writeFile(file, program);
  return `exec '${process.execPath}' '${file}'`;
}

/** A job that writes the time, as the reader's clock has it, every 20 ms. */
const stampProgram = `
  import { writeSync } from 'node:fs';
  setInterval(() => writeSync(1, '@' + (performance.timeOrigin + performance.now()) + '\\n'), 20);`;

/** 20 MB/s of a build's lines, once the file is there. */
const floodProgram = (file: string, megabytes: number) => `
  import { existsSync, writeSync } from 'node:fs';
  import { setTimeout as delay } from 'node:timers/promises';
  const line = 'cc -O2 -Wall -Iinclude -c src/module.c -o build/module.o  # and some more words of a log\\n';
  const bytes = Buffer.from(line.repeat(1 + 1e6 / line.length)).subarray(0, 1e6);
  while (!existsSync(${JSON.stringify(file)})) await delay(10);
  const began = performance.now();
  for (let written = 0; written < ${megabytes}; written++) {
    while ((performance.now() - began) / 50 < written) await delay(5);
    for (let at = 0; at < bytes.length;) at += writeSync(1, bytes, at);
  }`;

it('F6: fifty browsers that stall cost little memory, and another reader no time', async (context) => {
  const figures = figuresOf(context);
  const megabytes = isLong ? 1_200 : 160;
  await using server = await startTestServer({ embedded: true });
  await using proxy = await proxyOf(server);
  await using connections = new AsyncDisposableStack();
  const connect = (through?: string) =>
    connections.adopt(server.connect(through), (connection) => {
      connection.close();
    });
  const stamps = await submit(server, { command: await programCommand(server, 'stamps', stampProgram) });
  const go = join(server.startDirectory, 'go');
  // A server at work: what the stalled sockets add to it is the question.
  const idle = await memoryOf(server.pid);
  // The memory of a server grows over its first floods and then stays; what is asked is what the sockets add.
  let before = 0;
  for (let round = 0; round < 5; round++) {
    let job = await submit(server, {
      command: `yes 'some line of a build' | head -c ${String(megabytes)}000000`,
    });
    for (; !isFinal(job.status); job = await getJob(server, job.id)) {
      before = Math.max(before, await memoryOf(server.pid));
      await delay(100);
    }
  }
  const flood = await submit(server, {
    command: await programCommand(server, 'flood', floodProgram(go, megabytes)),
  });
  await Promise.all([reached(server, stamps, 'running'), reached(server, flood, 'running')]);
  const stalled = Array.from({ length: 50 }, () => connect(proxy.url));
  await Promise.all(stalled.map((connection) => connection.command('job:subscribe', { jobId: flood.id })));
  // As a page does; what never acknowledges is no browser, and is sent what its connection takes.
  await Promise.all(stalled.map((connection) => connection.command('job:ack', { jobId: flood.id, seq: 0 })));
  proxy.set({ kind: 'black-hole' });
  const latencies: number[] = [];
  connect().followJob({
    jobId: stamps.id,
    onEvents: (events) => {
      const now = performance.timeOrigin + performance.now();
      for (const { chunk } of events)
        for (const [, stamp] of chunk.matchAll(/@([\d.]+)\n/g)) latencies.push(now - Number(stamp));
    },
  });
  // Both are at rest: what the sockets cost by themselves is in it already.
  await delay(1_000);
  before = Math.max(before, await memoryOf(server.pid));
  latencies.length = 0;
  let most = before;
  await writeFile(go, '');
  let job: Job = flood;
  while (!isFinal(job.status)) {
    await delay(100);
    most = Math.max(most, await memoryOf(server.pid));
    job = await getJob(server, flood.id);
  }
  await server.client.call('cancelJob', { body: { jobId: stamps.id } });
  await ended(server, stamps);
  figures['stalled sockets'] = proxy.connections;
  figures.stored = `${(job.logBytes / 1e6).toFixed(0)} MB at ${(job.logBytes / 1e3 / (job.durationMs ?? NaN)).toFixed(1)} MB/s`;
  figures['server idle'] = `${idle.toFixed(0)} MB`;
  figures['after five floods without them'] = `${before.toFixed(0)} MB`;
  figures['with them at most'] = `+${(most - before).toFixed(0)} MB (PSS)`;
  figures['other reader'] =
    `p50 ${percentile(latencies, 0.5).toFixed(0)} ms, p99 ${percentile(latencies, 0.99).toFixed(0)} ms, n ${latencies.length}`;
  expect(job.logBytes).toBe(megabytes * 1e6);
  expect(proxy.connections).toBe(50);
  expect(most - before).toBeLessThan(100);
  expect(latencies.length).toBeGreaterThan(100);
  expect(percentile(latencies, 0.99)).toBeLessThan(250);
});

/** Small pieces of text that end anywhere, also within a character. */
const piecesProgram = (lines: number) => `
  import { writeSync } from 'node:fs';
  import { setTimeout as delay } from 'node:timers/promises';
  const text = Buffer.from(Array.from({ length: ${lines} }, (_, n) => 'line ' + n + ' é€😀 ' + 'x'.repeat((n * 7919) % 200) + '\\n').join(''));
  for (let at = 0, n = 0; at < text.length; n++) {
    const piece = text.subarray(at, at + 1 + ((n * 104729) % 300));
    at += writeSync(1, piece);
    if (n % 2 === 0) await delay(1);
  }`;

interface Tally {
  reconnects: number;
  cuts: number;
  passes: number;
  events: number;
  bytes: number;
}

/** Reads the log from its beginning to its end, over and over, over so many connections that end anywhere. */
async function readInPieces(server: TestServer, job: Job, reconnects: number, seed: number): Promise<Tally> {
  const random = seededRandom(seed);
  await using proxy = await proxyOf(server);
  const tally: Tally = { reconnects: 0, cuts: 0, passes: 0, events: 0, bytes: 0 };
  while (tally.reconnects < reconnects) {
    let text = '';
    let seq = 0;
    for (let atEnd = false; !atEnd;) {
      const throughProxy = random() < 0.3;
      if (throughProxy) proxy.limit(1_500 + Math.floor(random() * 6_000));
      const some = await readSome(server.connect(throughProxy ? proxy.url : undefined), {
        jobId: job.id,
        afterSeq: seq,
        atLeast: tally.reconnects < reconnects ? Math.floor(random() * 12) : Infinity,
      });
      tally.reconnects += 1;
      if (some.end === 'cut') tally.cuts += 1;
      for (const event of some.events) {
        expect(event.seq).toBe(seq + 1);
        seq = event.seq;
        tally.events += 1;
        if (event.stream === 'stdout') text += event.chunk;
      }
      atEnd = some.end === 'done';
    }
    tally.passes += 1;
    const file = await readFile(join(runDirectory(server, job.id), 'stdout'), 'utf8');
    expect(text === file).toBe(true);
    tally.bytes += Buffer.byteLength(text);
  }
  return tally;
}

it('F7: readers that are cut off a thousand times have the file’s text in the end', async (context) => {
  const figures = figuresOf(context);
  const reconnects = isLong ? 10_000 : 1_000;
  const readers = 4;
  await using server = await startTestServer();
  const job = await submit(server, { command: await programCommand(server, 'pieces', piecesProgram(4_000)) });
  const tallies = await Promise.all(
    Array.from({ length: readers }, (_, index) => readInPieces(server, job, reconnects / readers, index)),
  );
  const total = (name: keyof Tally) => tallies.reduce((sum, tally) => sum + tally[name], 0);
  Object.assign(figures, {
    reconnects: total('reconnects'),
    'cut in a message': total('cuts'),
    'whole reads': total('passes'),
    events: total('events'),
    'bytes compared': total('bytes'),
  });
  expect(total('reconnects')).toBeGreaterThanOrEqual(reconnects);
  expect(total('cuts')).toBeGreaterThan(reconnects / 20);
});

it('Flood: a job that writes as fast as it can is stored byte for byte while a client follows it', async (context) => {
  const figures = figuresOf(context);
  const bytes = (isLong ? 500 : 100) * 1_000_000;
  await using server = await startTestServer({ embedded: true });
  const job = await submit(server, { command: noiseCommand({ seed: 8, bytes, exitCode: 0 }) });
  const connection = server.connect();
  const { promise: done, resolve, reject } = Promise.withResolvers<undefined>();
  let seq = 0;
  let disorder = 0;
  let skipped = 0;
  const pass = (from: number, to: number) => {
    if (from !== seq + 1) disorder += 1;
    seq = to;
  };
  connection.followJob({
    jobId: job.id,
    onEvents: (events) => {
      for (const event of events) pass(event.seq, event.seq);
    },
    onSkipped: ({ fromSeq, toSeq }) => {
      pass(fromSeq, toSeq);
      skipped += toSeq - fromSeq + 1;
    },
    onDone: () => {
      resolve(undefined);
    },
    onError: reject,
  });
  const { status, durationMs, lastSeq } = await ended(server, job, 300_000);
  expect(status).toBe('done');
  await done;
  connection.close();
  const stored = {
    stdout: await storedDigest(server, job.id, 'stdout'),
    stderr: await storedDigest(server, job.id, 'stderr'),
  };
  figures['bytes compared'] = stored.stdout.bytes + stored.stderr.bytes;
  figures['stored at'] = `${(bytes / 1e3 / (durationMs ?? NaN)).toFixed(1)} MB/s`;
  figures.client = `${seq - skipped} events shown, ${skipped} skipped, ${disorder} out of order`;
  expect(stored).toEqual(noiseDigests(8, bytes));
  expect(seq).toBe(lastSeq);
  expect(disorder).toBe(0);
});
