import { randomBytes } from 'node:crypto';
import { rm, writeFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError, JobId, type Job } from '@vmo/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newId } from '../kernel/ids.ts';
import { owner, startCockpit, untilLogged, type Cockpit } from './harness.test.support.ts';

let cockpit: Cockpit;

beforeAll(async () => {
  cockpit = await startCockpit({ cancelGraceMs: 300 });
});

afterAll(async () => {
  await cockpit[Symbol.asyncDispose]();
  expect(cockpit.bugs).toEqual([]);
});

async function runToEnd(...args: Parameters<Cockpit['run']>): Promise<Job> {
  const { id } = await cockpit.run(...args);
  return cockpit.when(id);
}

const codeOf = (error: unknown) => (error instanceof CodedError ? error.code : error);

describe('a job’s log', () => {
  const manyLines = Array.from({ length: 100_000 }, (_, index) => `line ${String(index)}\n`).join('');
  it.each([
    ['random bytes', randomBytes(300_000)],
    ['invalid UTF-8', Buffer.from([0x61, 0xff, 0xc3, 0x28, 0xe2, 0x82, 0x0a, 0xf0, 0x9f])],
    ['NUL', Buffer.from('a\0b\0\n\0')],
    ['a byte order mark', Buffer.from('\ufeffx\n\ufeff')],
    ['100,000 lines', Buffer.from(manyLines)],
    ['a line of 5 MB', Buffer.from('€'.repeat(1_747_627))],
    ['no line end at the end', Buffer.from('one\ntwo')],
    ['nothing', Buffer.alloc(0)],
  ])('holds the exact bytes: %s', async (_, content) => {
    await writeFile(join(cockpit.directory, 'content'), content);
    const job = await runToEnd('cat content; cat content >&2');
    expect(job).toMatchObject({ status: 'done', exitCode: 0, logBytes: content.length * 2 });
    expect((await cockpit.bytes(job.id, 'stdout')).equals(content)).toBe(true);
    expect((await cockpit.bytes(job.id, 'stderr')).equals(content)).toBe(true);

    const events = await cockpit.events(job.id);
    expect(events.map((event) => event.seq)).toEqual(events.map((__, index) => index + 1));
    expect(events.length).toBe(job.lastSeq);
    const text = (stream: string) =>
      events
        .filter((event) => event.stream === stream)
        .map((event) => event.chunk)
        .join('');
    const whole = new TextDecoder('utf-8', { ignoreBOM: true }).decode(content);
    expect(text('stdout') === whole).toBe(true);
    expect(text('stderr') === whole).toBe(true);
  });

  it('reads on from any event as the rest of the whole', async () => {
    const job = await runToEnd(
      'for i in 1 2 3 4 5 6 7 8; do echo "out $i"; echo "err $i" >&2; sleep 0.01; done',
    );
    const all = await cockpit.events(job.id);
    expect(all.length).toBeGreaterThan(3);
    for (let afterSeq = 0; afterSeq <= all.length; afterSeq++) {
      for (const limit of [1, 2, 1000]) {
        expect(await cockpit.events(job.id, afterSeq, limit)).toEqual(all.slice(afterSeq));
      }
    }
    expect((await cockpit.bytes(job.id)).toString()).toBe(
      all
        .filter((event) => event.stream !== 'system')
        .map((event) => event.chunk)
        .join(''),
    );
  });

  it('is opened and closed by the cockpit’s own words', async () => {
    const job = await runToEnd('printf x\nexit 3');
    const lines = await cockpit.systemLines(job.id);
    expect(lines.slice(0, 3)).toEqual(['printf x', 'exit 3', `in ${cockpit.directory}, agent test`]);
    expect(lines.at(-1)).toMatch(/^exit 3 after \d+\.\d\d s$/);
    expect(lines).toHaveLength(4);
    const events = await cockpit.events(job.id);
    expect(events.at(-1)?.stream).toBe('system');
    expect(job).toMatchObject({ status: 'failed', reason: 'exit code 3', exitCode: 3, signal: null });
    expect(job.durationMs).toBeGreaterThanOrEqual(0);
  });
});

describe('how a job ends', () => {
  it.each([
    ['true', { status: 'done', exitCode: 0, signal: null, reason: null }],
    ['kill -SEGV $$', { status: 'failed', exitCode: 139, signal: 'SIGSEGV', reason: 'killed by SIGSEGV' }],
    ['no-such-command', { status: 'failed', exitCode: 127, signal: null, reason: 'exit code 127' }],
  ])('`%s` is told in the row', async (command, row) => {
    const job = await runToEnd(command);
    expect(job).toMatchObject(row);
    if (job.exitCode === 127) expect((await cockpit.bytes(job.id, 'stderr')).toString()).toMatch(/not found/);
  });

  it('a directory that is gone is the reason, in the row and the log', async () => {
    const cwd = join(cockpit.directory, 'gone');
    const job = await runToEnd('true', { cwd });
    expect(job).toMatchObject({
      status: 'failed',
      exitCode: null,
      reason: `the directory ${cwd} does not exist`,
    });
    expect((await cockpit.systemLines(job.id)).at(-1)).toBe(job.reason);
  });

  it('a process that goes on writing after the end does not keep the job from ending', async () => {
    const job = await runToEnd(
      `setsid sh -c 'echo $$; while :; do echo more; sleep 0.005; done' & sleep 0.2; echo end >&2`,
    );
    expect(job).toMatchObject({ status: 'done', exitCode: 0 });
    const lines = await cockpit.systemLines(job.id);
    expect(lines.at(-2)).toMatch(/^still running after the end, their output is not kept: .*\(\d+\)/);
    const pid = parseInt((await cockpit.bytes(job.id, 'stdout')).subarray(0, 10).toString(), 10);
    process.kill(-pid, 'SIGKILL');
  });

  it('its timeout ends it, and is the reason', async () => {
    const job = await runToEnd('echo started; exec sleep 61', { timeout: 0.2 });
    expect(job).toMatchObject({
      status: 'timed_out',
      reason: 'ended after its timeout of 0.2 s',
      signal: 'SIGTERM',
    });
    const lines = await cockpit.systemLines(job.id);
    expect(lines).toContainEqual(expect.stringMatching(/^SIGTERM sent to process group \d+: /));
    expect(lines.slice(-2)).toEqual([
      'ended after its timeout of 0.2 s',
      expect.stringMatching(/^SIGTERM, exit 143 after /),
    ]);
  });
});

it('gives a job its environment, and asks for colour unless told not to', async () => {
  const coloured = await runToEnd('echo "$FORCE_COLOR$CLICOLOR_FORCE $MINE"', { env: { MINE: 'a b' } });
  expect((await cockpit.bytes(coloured.id)).toString()).toBe('11 a b\n');
  const plain = await runToEnd('echo "$FORCE_COLOR$CLICOLOR_FORCE|"', { color: false });
  expect((await cockpit.bytes(plain.id)).toString()).toBe('|\n');
});

describe('cancel', () => {
  it('of a running job ends it, and says who asked, what was sent and what died', async () => {
    const { id } = await cockpit.run(`trap '' TERM; echo ready; while :; do sleep 0.02; done`);
    await untilLogged(cockpit, id, 'ready');
    const first = await cockpit.jobs.cancel(owner, id);
    expect(first).toMatchObject({ status: 'running', cancelRequested: true });
    expect(await cockpit.jobs.cancel(owner, id)).toMatchObject({ id, cancelRequested: true });
    const job = await cockpit.when(id);
    expect(job).toMatchObject({ status: 'cancelled', reason: 'cancelled', exitCode: 137, signal: 'SIGKILL' });
    expect((await cockpit.systemLines(id)).slice(2)).toEqual([
      'cancel requested by owner',
      expect.stringMatching(/^SIGTERM sent to process group \d+: .*sh \(\d+\)/),
      expect.stringMatching(/^SIGKILL after 0.3 s: .*sh \(\d+\)/),
      expect.stringMatching(/^SIGKILL, exit 137 after /),
    ]);
    expect(await cockpit.jobs.cancel(owner, id)).toEqual(job);
    expect(await cockpit.audits(id, 'job.cancel')).toBe(1);
  });

  it('of a job that has ended by itself is refused', async () => {
    const job = await runToEnd('true');
    expect(codeOf(await cockpit.jobs.cancel(owner, job.id).catch((error: unknown) => error))).toBe(
      'JOB_ALREADY_FINISHED',
    );
    expect(await cockpit.jobs.get(job.id)).toEqual(job);
    expect(await cockpit.audits(job.id, 'job.cancel')).toBe(0);
  });

  it('of a job that does not exist is refused', async () => {
    const nobody = JobId.parse(newId());
    for (const ask of [() => cockpit.jobs.cancel(owner, nobody), () => cockpit.jobs.get(nobody)])
      expect(codeOf(await ask().catch((error: unknown) => error))).toBe('JOB_NOT_FOUND');
  });
});

describe('with two slots', () => {
  it('others wait, say why, and can be cancelled at once', async () => {
    await using small = await startCockpit({ maxConcurrentJobs: 2 });
    const command = 'echo ready; while [ ! -e go ]; do sleep 0.02; done';
    const busy = [await small.run(command), await small.run(command)];
    for (const { id } of busy) await untilLogged(small, id, 'ready');
    const waiting = await small.run('echo third');
    expect(waiting).toMatchObject({ status: 'pending', reason: 'waiting for a free slot: 2 of 2 busy' });
    const unwanted = await small.run('echo unwanted');
    const held = await small.run('echo held');
    await small.db.updateTable('jobs').set({ status: 'hold' }).where('id', '=', held.id).execute();
    for (const { id } of [unwanted, held]) {
      const cancelled = await small.jobs.cancel(owner, id);
      expect(cancelled).toMatchObject({
        status: 'cancelled',
        reason: 'cancelled by owner before it started',
        startedAt: null,
      });
      expect(await small.jobs.cancel(owner, id)).toEqual(cancelled);
      expect(await small.systemLines(id)).toEqual(['cancelled by owner before it started']);
    }
    expect((await small.jobs.list({ limit: 50, status: 'pending' })).jobs).toEqual([waiting]);

    await writeFile(join(small.directory, 'go'), '');
    for (const { id } of busy) expect(await small.when(id)).toMatchObject({ status: 'done' });
    expect(await small.when(waiting.id)).toMatchObject({ status: 'done', reason: null });
    expect((await small.bytes(waiting.id)).toString()).toBe('third\n');
    expect(small.bugs).toEqual([]);
  });
});

it('runs a job again as a new one', async () => {
  await mkdir(join(cockpit.directory, 'place'));
  const first = await runToEnd('pwd; echo "$MINE"', {
    cwd: join(cockpit.directory, 'place'),
    env: { MINE: 'x' },
  });
  const again = await cockpit.jobs.rerun(owner, first.id);
  expect(again.id > first.id).toBe(true);
  await cockpit.when(again.id);
  expect((await cockpit.bytes(again.id)).equals(await cockpit.bytes(first.id))).toBe(true);
  await rm(join(cockpit.directory, 'place'), { recursive: true });
});
