import { appendFileSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { JobId, VmId, type MachineSpec } from '@vmo/contract';
import type { Run, RunEnd, Strategy } from '@vmo/execution';
import { until } from '@vmo/testkit';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { newId } from '../kernel/ids.ts';
import { owner, startCockpit, type Cockpit } from './harness.test.support.ts';

const kib = 1024;
const partBytes = 256 * kib;
const vmId = VmId.parse('01970000-0000-7000-8000-0000000000aa');

/** A machine that says on its console what the test lets it say, and ends when it is told to. */
function createTalker() {
  const over = Promise.withResolvers<RunEnd>();
  const startedAt = new Date();
  const run: Run = {
    startedAt,
    ended: over.promise,
    cancel: () => Promise.resolve([]),
    suspend: () => Promise.resolve(false),
    resume: () => Promise.resolve(),
    detach: () => undefined,
  };
  const strategy: Strategy = {
    type: 'vm',
    start({ directory }) {
      mkdirSync(directory, { recursive: true });
      for (const name of ['stdout', 'stderr', 'boot']) writeFileSync(join(directory, name), '');
      return Promise.resolve(run);
    },
    adopt: () => Promise.resolve(run),
  };
  return {
    strategy,
    end() {
      const common = { startedAt, finishedAt: new Date(), leftovers: [] };
      over.resolve({ kind: 'exited', exitCode: 0, signal: null, ...common });
    },
  };
}

let talker: ReturnType<typeof createTalker>;
let cockpit: Cockpit;
let id: JobId;
/** All that was said. */
let said: string;

beforeEach(async () => {
  talker = createTalker();
  said = '';
  cockpit = await startCockpit({
    strategies: [talker.strategy],
    limits: { maxLogBytes: 4 * partBytes, tailBytes: partBytes },
  });
  const spec = {
    ...{ id: vmId, name: 'talker', cpus: 1, maxCpus: 1, memoryMib: 64, maxMemoryMib: 64 },
    ...{ boot: { from: 'disk' }, network: { mode: 'none' }, display: 'none', disks: [], arguments: [] },
    request: null,
  } satisfies MachineSpec;
  id = JobId.parse(newId());
  await cockpit.jobs.submitMachines(owner, [[{ id, vmId, spec, command: 'a machine' }]], () =>
    Promise.resolve(),
  );
  await cockpit.when(id, ({ status }) => status === 'running');
});
afterEach(async () => {
  talker.end();
  await cockpit.when(id);
  await cockpit[Symbol.asyncDispose]();
  expect(cockpit.bugs).toEqual([]);
});

const boot = () => join(cockpit.runsDirectory, id, 'boot');
const stored = async () =>
  await cockpit.db.selectFrom('jobs').selectAll().where('id', '=', id).executeTakeFirstOrThrow();

/** Lines of 64 bytes, numbered from the first one on; resolves when they are stored. */
async function say(lines: number): Promise<void> {
  const first = said.length / 64;
  const text = Array.from(
    { length: lines },
    (_, at) => `line ${String(first + at + 1)}`.padEnd(63, '.') + '\n',
  );
  said += text.join('');
  appendFileSync(boot(), text.join(''));
  await until('what was said is stored', async () => (await stored()).boot_bytes === said.length);
}

it('a console that goes on for ever keeps its first part and its newest part, and takes a bounded place', async () => {
  for (let round = 0; round < 30; round += 1) {
    await say(1_024);
    // Another agent goes on where the first one was.
    if (round === 14) await cockpit.startAgent();
  }
  expect(said.length).toBe(30 * 64 * kib);
  // Live all the time: the newest line is there.
  expect((await cockpit.bytes(id, 'boot')).toString().slice(-64)).toBe(said.slice(-64));
  // And who looks at it need not read the rest.
  const { events } = await cockpit.jobs.readEvents(id, await cockpit.jobs.seqBeforeNewest(id, 64 * kib), 500);
  const newest = events.map(({ chunk }) => chunk).join('');
  expect(newest.length).toBeGreaterThanOrEqual(64 * kib);
  expect(newest.length).toBeLessThan(2 * 64 * kib);
  expect(said.endsWith(newest)).toBe(true);

  talker.end();
  const job = await cockpit.when(id);
  const { size, blocks } = statSync(boot());
  expect(size).toBe(said.length);
  expect(blocks * 512).toBeLessThan(2 * partBytes);
  const log = (await cockpit.bytes(id, 'boot')).toString();
  expect(log.length).toBeLessThan(3 * partBytes);
  expect(job).toMatchObject({ status: 'done', logState: 'cut', logBytes: log.length });
  // What was compared piece by piece and what was left at the end were both found equal.
  expect((await stored()).log_verified).toBe(true);
  expect(await cockpit.systemLines(id)).not.toContainEqual(expect.stringContaining('somebody changed'));
}, 60_000);

it('where something is missing, one line says so, and lines keep their numbers', async () => {
  for (let round = 0; round < 30; round += 1) await say(1_024);
  const events = await cockpit.events(id);
  const gap = events.findIndex(({ seq }, at) => seq !== at + 1);
  const words = events[gap - 1];
  expect(words).toMatchObject({ stream: 'system' });
  expect(words?.chunk).toMatch(/^the console is longer than 256 KiB: of what follows, only the newest/);
  const kept = (part: typeof events) =>
    part
      .filter(({ stream }) => stream === 'boot')
      .map(({ chunk }) => chunk)
      .join('');
  const head = kept(events.slice(0, gap));
  const tail = kept(events.slice(gap));
  expect(said.startsWith(head)).toBe(true);
  expect(said.endsWith(tail)).toBe(true);
  expect(head.length).toBeGreaterThanOrEqual(partBytes);
  expect(tail.length).toBeGreaterThan(partBytes / 2);
  expect(events.filter(({ chunk }) => chunk.includes('only the newest'))).toHaveLength(1);

  const last = await cockpit.jobs.lines(id, { last: 1, limit: 1, lineBytes: 100 });
  const total = last.count;
  expect(last.lines[0]?.text).toMatch(new RegExp(`^line ${String(said.length / 64)}\\.`));
  const early = await cockpit.jobs.lines(id, { from: 3, limit: 1, lineBytes: 100 });
  expect(early.from).toBe(3);
  // Whoever looks for what is gone gets what comes next.
  const middle = await cockpit.jobs.lines(id, { from: Math.floor(total / 2), limit: 1, lineBytes: 100 });
  expect(middle.from).toBeGreaterThan(Math.floor(total / 2));
  const next = /^line (\d+)\./.exec(middle.lines[0]?.text ?? '')?.[1];
  expect(Number(next) * 64).toBeGreaterThan(said.length - 2 * partBytes);
}, 60_000);

it('a console that was changed behind our back is not said to be verified, and the log says so', async () => {
  await say(100);
  // Over what was read, in place.
  writeFileSync(boot(), 'X', { flag: 'r+' });
  await say(2_048);
  talker.end();
  expect(await cockpit.when(id)).toMatchObject({ status: 'done', logState: 'kept' });
  expect(await cockpit.systemLines(id)).toContainEqual(
    expect.stringContaining('its spool is not what was read from it: somebody changed it'),
  );
});

it('a short console is stored whole, and verified', async () => {
  await say(1_000);
  talker.end();
  expect(await cockpit.when(id)).toMatchObject({ logState: 'verified' });
  expect((await cockpit.bytes(id, 'boot')).toString()).toBe(said);
});
