import { randomBytes } from 'node:crypto';
import { access, appendFile, cp, mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { JobId } from '@vmo/contract';
import type { Run, RunEnd, Strategy } from '@vmo/execution';
import { until } from '@vmo/testkit';
import { sql } from 'kysely';
import { afterEach, describe, expect, it } from 'vitest';
import { newId } from '../kernel/ids.ts';
import { owner, startCockpit, untilLogged, type Cockpit } from './harness.test.support.ts';

const mib = 1024 * 1024;
let cockpit: Cockpit;
afterEach(async () => {
  await cockpit[Symbol.asyncDispose]();
  expect(cockpit.bugs).toEqual([]);
});

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );

describe('what is stored', () => {
  it('is compared with the spool at the end, and then said to be verified', async () => {
    cockpit = await startCockpit();
    const { id } = await cockpit.run('seq 1 100000; head -c 100000 /dev/urandom >&2');
    expect(await cockpit.when(id)).toMatchObject({ status: 'done', logState: 'verified' });
    expect(await exists(join(cockpit.runsDirectory, id, 'verified'))).toBe(true);
  });

  it('stays when the job changes its own file, and the log says so', async () => {
    cockpit = await startCockpit();
    const { id } = await cockpit.run(
      `echo first; while [ ! -e on ]; do sleep 0.02; done; printf X | dd of="$SPOOL/$VMO_JOB_ID/stdout" conv=notrunc status=none`,
      { env: { SPOOL: cockpit.runsDirectory } },
    );
    await untilLogged(cockpit, id, 'first');
    await writeFile(join(cockpit.directory, 'on'), '');
    expect(await cockpit.when(id)).toMatchObject({ status: 'done', logState: 'kept' });
    expect((await cockpit.bytes(id)).toString()).toBe('first\n');
    expect(await cockpit.systemLines(id)).toContainEqual(
      expect.stringMatching(/^the file of stdout is not what was read from it: somebody changed it/),
    );
    expect(await exists(join(cockpit.runsDirectory, id, 'verified'))).toBe(false);
  });

  it('stays when the job cuts its own file; what it writes then follows, also for the next agent', async () => {
    cockpit = await startCockpit();
    const { id } = await cockpit.run(
      `echo before the cut; while [ ! -e on ]; do sleep 0.02; done; : >"$SPOOL/$VMO_JOB_ID/stdout"; echo after
       while [ ! -e end ]; do sleep 0.02; done; echo last`,
      { env: { SPOOL: cockpit.runsDirectory } },
    );
    await untilLogged(cockpit, id, 'before');
    await writeFile(join(cockpit.directory, 'on'), '');
    await untilLogged(cockpit, id, 'after');
    await cockpit.startAgent();
    await writeFile(join(cockpit.directory, 'end'), '');
    expect(await cockpit.when(id)).toMatchObject({ status: 'done', logState: 'kept' });
    expect((await cockpit.bytes(id)).toString()).toBe('before the cut\nafter\nlast\n');
    expect(await cockpit.systemLines(id)).toContainEqual(
      expect.stringMatching(/^the file of stdout was cut while the job ran/),
    );
  });

  it('says in words what cannot be read any more, and the rest stays readable', async () => {
    cockpit = await startCockpit();
    const { id } = await cockpit.run('head -c 200000 /dev/zero; echo; echo end');
    await cockpit.when(id);
    await cockpit.db
      .updateTable('job_events')
      .set({ chunk: Buffer.from('garbage'), codec: 1 })
      .where('job_id', '=', id)
      .where('seq', '=', 2)
      .execute();
    await cockpit.db
      .updateTable('job_events')
      .set({ codec: 77 })
      .where('job_id', '=', id)
      .where('seq', '=', 3)
      .execute();
    const log = (await cockpit.bytes(id)).toString();
    expect(log).toMatch(/\[event 2 of this log cannot be read: /);
    expect(log).toMatch(/\[event 3 of this log cannot be read: .*77/);
    expect(log).toMatch(/end\n$/);
    expect((await cockpit.events(id)).length).toBeGreaterThan(4);
  });
});

describe('a log above its limit', () => {
  it('keeps its first and its last part, and says how much is missing between', async () => {
    cockpit = await startCockpit({ limits: { maxLogBytes: 2 * mib, tailBytes: mib / 2 } });
    const { id } = await cockpit.run('seq 1 1000000; echo problem >&2');
    const job = await cockpit.when(id);
    expect(job).toMatchObject({ status: 'done', logState: 'cut' });
    const out = (await cockpit.bytes(id, 'stdout')).toString().trimEnd().split('\n');
    expect((await cockpit.bytes(id, 'stderr')).toString()).toBe('problem\n');
    expect(out[0]).toBe('1');
    expect(out.at(-1)).toBe('1000000');
    const words = (await cockpit.systemLines(id)).find((line) => line.includes('left out')) ?? '';
    const [, bytes = '', lines = ''] =
      /^([\d,]+) bytes with ([\d,]+) lines are left out here/.exec(words) ?? [];
    const all = Array.from({ length: 1_000_000 }, (_, index) => `${String(index + 1)}\n`).join('').length;
    const kept = (await cockpit.bytes(id, 'stdout')).length;
    expect(Number(bytes.replaceAll(',', ''))).toBe(all - kept);
    expect(job.logBytes).toBe(kept + 'problem\n'.length);
    expect(kept).toBeLessThanOrEqual(3 * mib);
    // The line where the first part ends may be cut; each other line is there or counted as missing.
    expect(Math.abs(out.length + Number(lines.replaceAll(',', '')) - 1_000_000)).toBeLessThanOrEqual(1);
    const events = await cockpit.events(id);
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => index + 1));
  });

  it('takes no more of the disk than what is still to be stored, and is compared all the same', async () => {
    cockpit = await startCockpit({ limits: { maxLogBytes: 2 * mib, tailBytes: mib / 2 } });
    const { id } = await cockpit.run(
      `seq 1 600000; while [ ! -e on ]; do sleep 0.02; done; seq 600001 1200000; while [ ! -e end ]; do sleep 0.02; done; echo last`,
    );
    const freed = (bytes: number) => async () => {
      // It is not there before the job has started.
      const spool = await stat(join(cockpit.runsDirectory, id, 'stdout')).catch(() => null);
      return spool !== null && spool.size >= bytes && spool.blocks * 512 < 1.5 * mib;
    };
    await until('the first part is freed', freed(4_000_000));
    // Another agent goes on where the first one was.
    await cockpit.startAgent();
    await writeFile(join(cockpit.directory, 'on'), '');
    await until('the second part is freed', freed(8_400_000));
    await writeFile(join(cockpit.directory, 'end'), '');
    expect(await cockpit.when(id)).toMatchObject({ status: 'done', logState: 'cut' });
    expect(await cockpit.isVerified(id)).toBe(true);
    const out = (await cockpit.bytes(id, 'stdout')).toString().trimEnd().split('\n');
    expect(out[0]).toBe('1');
    expect(out.slice(-2)).toEqual(['1200000', 'last']);
    const words = (await cockpit.systemLines(id)).find((line) => line.includes('left out')) ?? '';
    const [, lines = ''] = /with ([\d,]+) lines are left out here/.exec(words) ?? [];
    expect(Math.abs(out.length + Number(lines.replaceAll(',', '')) - 1_200_001)).toBeLessThanOrEqual(1);
  });

  it('takes no more of the disk where secrets are hidden in it, and hides them all the same', async () => {
    cockpit = await startCockpit({ limits: { maxLogBytes: 2 * mib, tailBytes: mib / 2 } });
    const { id } = await cockpit.run(
      `seq -f '%.0f hunter22' 300000; while [ ! -e end ]; do sleep 0.02; done; echo last hunter22`,
      { secrets: { TOKEN: 'hunter22' } },
    );
    const spool = join(cockpit.runsDirectory, id, 'stdout');
    await until('the middle is freed', async () => {
      const found = await stat(spool).catch(() => null);
      return found !== null && found.size > 4_500_000 && found.blocks * 512 < 1.5 * mib;
    });
    await writeFile(join(cockpit.directory, 'end'), '');
    expect(await cockpit.when(id)).toMatchObject({ status: 'done', logState: 'cut' });
    expect(await cockpit.isVerified(id)).toBe(true);
    const out = (await cockpit.bytes(id, 'stdout')).toString();
    expect(out).toMatch(/^1 \*{8}\n2 \*{8}\n/);
    expect(out).toMatch(/\n300000 \*{8}\nlast \*{8}\n$/);
    expect(out).not.toMatch(/hunt|ter22/);
    // Where the first part ends and the last one begins, a line may be cut.
    expect(out.replace(/^(\d+|last) \*{8}\n/gm, '').split('\n').length).toBeLessThanOrEqual(2);
  });

  it('is whole when the end turns out to fit', async () => {
    cockpit = await startCockpit({ limits: { maxLogBytes: 2 * mib, tailBytes: mib } });
    const { id } = await cockpit.run('seq 1 250000');
    expect(await cockpit.when(id)).toMatchObject({ logState: 'verified' });
    expect((await cockpit.bytes(id)).toString().trimEnd().split('\n')).toHaveLength(250_000);
  });
});

describe('a log near its limit', () => {
  it('ends where nothing has to be left out, though it is stored beyond where its last part begins', async () => {
    // One read of 512 KiB goes over the place where storing stops; what is left then is as long as the last part may be.
    const first = mib - 1024;
    const rest = mib + 200_000;
    cockpit = await startCockpit({ limits: { maxLogBytes: 2 * mib, tailBytes: mib } });
    const wait = (file: string) => `while [ ! -e ${file} ]; do sleep 0.02; done`;
    const { id } = await cockpit.run(
      `head -c ${String(first)} /dev/zero; ${wait('on')}; echo now; ${wait('more')}; head -c ${String(rest)} /dev/zero`,
    );
    await until('the first part', async () => (await cockpit.bytes(id)).length === first);
    {
      await using lock = await holdLog(id);
      expect(lock.held).toBe(true);
      await writeFile(join(cockpit.directory, 'on'), '');
      await until('an append that waits', async () => {
        const { rows } = await sql`select 1 from pg_locks where not granted`.execute(cockpit.db);
        return rows.length > 0;
      });
      await writeFile(join(cockpit.directory, 'more'), '');
      await until('all to be written', async () => {
        return (await stat(join(cockpit.runsDirectory, id, 'stdout'))).size === first + 4 + rest;
      });
    }
    expect(await cockpit.when(id)).toMatchObject({ status: 'done', logBytes: first + 4 + rest });
  });

  it('lets a job go on that was stopped on the way to it', async () => {
    cockpit = await startCockpit({
      limits: { highWaterBytes: mib, lowWaterBytes: mib / 4, maxLogBytes: 4 * mib, tailBytes: mib },
    });
    const { id } = await cockpit.run(`echo ready; while [ ! -e on ]; do sleep 0.02; done; seq 1 3000000`);
    await untilLogged(cockpit, id, 'ready');
    {
      await using lock = await holdLog(id);
      expect(lock.held).toBe(true);
      await writeFile(join(cockpit.directory, 'on'), '');
      await until('the stop', () => exists(join(cockpit.runsDirectory, id, 'suspended')));
    }
    expect(await cockpit.when(id)).toMatchObject({ status: 'done', logState: 'cut' });
    expect((await cockpit.bytes(id, 'stdout')).subarray(-8).toString()).toBe('3000000\n');
  });
});

/** While this is held, nothing of the job can be stored. */
async function holdLog(id: JobId): Promise<AsyncDisposable & { held: boolean }> {
  const { promise: release, resolve } = Promise.withResolvers<undefined>();
  const held = Promise.withResolvers<undefined>();
  const lock = cockpit.db.transaction().execute(async (trx) => {
    await trx.selectFrom('jobs').select('id').where('id', '=', id).forUpdate().execute();
    held.resolve(undefined);
    await release;
  });
  await held.promise;
  return {
    held: true,
    async [Symbol.asyncDispose]() {
      resolve(undefined);
      await lock;
    },
  };
}

describe('a job that writes faster than is stored', () => {
  it('is stopped above the high-water mark, goes on below the low one, and loses nothing', async () => {
    cockpit = await startCockpit({ limits: { highWaterBytes: mib, lowWaterBytes: mib / 4 } });
    const { id } = await cockpit.run(
      `echo ready; while [ ! -e on ]; do sleep 0.02; done
       i=0; while [ $i -lt 400 ]; do i=$((i + 1)); head -c 50000 /dev/zero; done; echo end`,
    );
    await untilLogged(cockpit, id, 'ready');
    const directory = join(cockpit.runsDirectory, id);
    const written = async () => (await stat(join(directory, 'stdout'))).size;
    {
      await using lock = await holdLog(id);
      expect(lock.held).toBe(true);
      await writeFile(join(cockpit.directory, 'on'), '');
      await until('the stop', () => exists(join(directory, 'suspended')));
      await until('the end of the growth', async () => {
        const before = await written();
        await new Promise((wait) => setTimeout(wait, 200));
        return (await written()) === before;
      });
      expect(await written()).toBeLessThan(20_000_000);
    }
    expect(await cockpit.when(id)).toMatchObject({ status: 'done', logState: 'verified' });
    expect(await cockpit.bytes(id)).toHaveLength(20_000_000 + 'ready\nend\n'.length);
    const words = await cockpit.systemLines(id);
    expect(words).toContainEqual(
      expect.stringMatching(/^stopped \(SIGSTOP\): .* of output wait to be stored/),
    );
    expect(words).toContainEqual(
      expect.stringMatching(/^goes on \(SIGCONT\) after [\d.]+ s: the log has caught up$/),
    );
    await until('the end of the marker', async () => !(await exists(join(directory, 'suspended'))));
  });

  it('can be cancelled while it is stopped', async () => {
    cockpit = await startCockpit({
      limits: { highWaterBytes: mib, lowWaterBytes: mib / 4 },
      cancelGraceMs: 500,
    });
    const { id } = await cockpit.run(
      'echo ready; while [ ! -e on ]; do sleep 0.02; done; while :; do head -c 50000 /dev/zero; done',
    );
    await untilLogged(cockpit, id, 'ready');
    {
      await using lock = await holdLog(id);
      expect(lock.held).toBe(true);
      await writeFile(join(cockpit.directory, 'on'), '');
      await until('the stop', () => exists(join(cockpit.runsDirectory, id, 'suspended')));
    }
    await cockpit.jobs.cancel(owner, id);
    expect(await cockpit.when(id)).toMatchObject({ status: 'cancelled' });
  });
});

describe('a job on a host', () => {
  /** The link is slow: what it has written there comes when the test lets it come. */
  async function startThere(limits: Parameters<typeof startCockpit>[0]) {
    const over = Promise.withResolvers<RunEnd>();
    const startedAt = new Date();
    const there = { unfetched: 0, isStopped: false };
    const run: Run = {
      startedAt,
      ended: over.promise,
      cancel: () => Promise.resolve([]),
      suspend: () => Promise.resolve((there.isStopped = true)),
      resume: () => Promise.resolve(void (there.isStopped = false)),
      unfetched: () => there.unfetched,
      detach: () => undefined,
    };
    const strategy: Strategy = {
      type: 'ssh',
      async start({ directory }) {
        await mkdir(directory, { recursive: true });
        for (const stream of ['stdout', 'stderr']) await writeFile(join(directory, stream), '');
        return run;
      },
      adopt: () => Promise.resolve(run),
    };
    cockpit = await startCockpit({ ...limits, strategies: [strategy] });
    await cockpit.db
      .insertInto('hosts')
      .values({ id: newId(), name: 'build', address: '192.0.2.1', created_by: 'owner' })
      .execute();
    const { id } = await cockpit.run('make', { host: 'build' });
    await cockpit.when(id, ({ status }) => status === 'running');
    const spool = join(cockpit.runsDirectory, id, 'stdout');
    return {
      ...{ id, there, spool },
      comes: (bytes: Buffer | string) => appendFile(spool, bytes),
      end: () => {
        const common = { startedAt, finishedAt: new Date(), leftovers: [] };
        over.resolve({ kind: 'exited', exitCode: 0, signal: null, ...common });
      },
    };
  }

  it('is stopped there when it writes faster than its output comes, also above the limit of its log', async () => {
    const { id, there, comes, end } = await startThere({
      limits: { highWaterBytes: mib, lowWaterBytes: mib / 4, maxLogBytes: mib, tailBytes: mib / 2 },
    });
    there.unfetched = 2 * mib;
    await comes('first\n');
    await until('the stop', () => there.isStopped);
    there.unfetched = mib / 8;
    await comes('second\n');
    await until('its going on', () => !there.isStopped);
    await comes(Buffer.alloc(3 * mib, 'line\n'));
    await until('the limit', async () =>
      (await cockpit.systemLines(id)).some((line) => line.includes('near its limit')),
    );
    there.unfetched = 2 * mib;
    await until('the stop above the limit', async () => {
      await comes('more\n');
      return there.isStopped;
    });
    there.unfetched = 0;
    await until('its going on', async () => {
      await comes('more\n');
      return !there.isStopped;
    });
    end();
    expect(await cockpit.when(id)).toMatchObject({ status: 'done', logState: 'cut' });
    const words = await cockpit.systemLines(id);
    expect(words).toContainEqual(expect.stringMatching(/^stopped \(SIGSTOP\): 2(\.\d)? MiB of output wait/));
    expect(words).toContainEqual(expect.stringMatching(/: the log has caught up$/));
  });

  it('leaves nothing stopped when its command ends at that moment', async () => {
    const { id, there, comes, end } = await startThere({
      limits: { highWaterBytes: mib, lowWaterBytes: mib / 4 },
    });
    {
      await using lock = await holdLog(id);
      expect(lock.held).toBe(true);
      await comes(Buffer.alloc(2 * mib, 'line\n'));
      await until('the stop', () => there.isStopped);
      there.unfetched = mib;
      end();
    }
    expect(await cockpit.when(id)).toMatchObject({ status: 'done', logState: 'verified' });
    expect(there.isStopped).toBe(false);
    expect(await exists(join(cockpit.runsDirectory, id, 'suspended'))).toBe(false);
    expect(await cockpit.systemLines(id)).toContainEqual(expect.stringMatching(/: the command has ended$/));
  });

  it('takes no more of the disk here than what is still to be stored', async () => {
    const { id, comes, end, spool } = await startThere({
      limits: { maxLogBytes: 2 * mib, tailBytes: mib / 2 },
    });
    const text = (part: number) => `${String(part)}${'.'.repeat(62)}\n`.repeat(mib / 64);
    for (let part = 0; part < 8; part++) await comes(text(part));
    await until('the middle is freed', async () => (await stat(spool)).blocks * 512 < 1.5 * mib);
    expect((await stat(spool)).size).toBe(8 * mib);
    end();
    expect(await cockpit.when(id)).toMatchObject({ status: 'done', logState: 'cut' });
    expect(await exists(join(cockpit.runsDirectory, id, 'verified'))).toBe(true);
    const out = (await cockpit.bytes(id, 'stdout')).toString();
    expect(out.startsWith('0...') && out.endsWith(text(7).slice(-1000))).toBe(true);
  });
});

describe('secret variables', () => {
  it('reach the job, and nobody else: not the log, not the database, not the spool once it has ended', async () => {
    cockpit = await startCockpit();
    const { id } = await cockpit.run(
      `echo "token $TOKEN."; printf hun; sleep 0.2; echo ter22; echo "$TOKEN" >&2; [ "$TOKEN" = hunter22 ]; cat missing-hunter22`,
      { secrets: { TOKEN: 'hunter22' } },
    );
    await untilLogged(cockpit, id, 'token');
    const job = await cockpit.when(id);
    expect(job).toMatchObject({
      status: 'failed',
      exitCode: 1,
      secretNames: ['TOKEN'],
      logState: 'verified',
    });
    expect((await cockpit.bytes(id, 'stdout')).toString()).toBe('token ********.\n********\n');
    expect((await cockpit.bytes(id, 'stderr')).toString()).toBe(
      '********\ncat: missing-********: No such file or directory\n',
    );
    expect((await cockpit.systemLines(id)).join('\n')).not.toContain('hunter22');
    // After the end is stored, never before it: the exit record must not be lost with the spool.
    await until('the removal', async () => !(await exists(join(cockpit.runsDirectory, id))));
    const { secrets } = await cockpit.db
      .selectFrom('jobs')
      .select('secrets')
      .where('id', '=', id)
      .executeTakeFirstOrThrow();
    expect(secrets).toBeNull();
    await expect(cockpit.jobs.rerun(owner, id)).rejects.toMatchObject({ code: 'SECRETS_FORGOTTEN' });
  });

  it('leave the disk at the next start when the agent died before it could remove them', async () => {
    cockpit = await startCockpit();
    const { id } = await cockpit.run('echo "$TOKEN"; while [ ! -e on ]; do sleep 0.02; done', {
      secrets: { TOKEN: 'hunter22' },
    });
    await untilLogged(cockpit, id, '***');
    const directory = join(cockpit.runsDirectory, id);
    const kept = `${directory}.kept`;
    await cp(directory, kept, { recursive: true });
    await writeFile(join(cockpit.directory, 'on'), '');
    await cockpit.when(id);
    await until('the removal', async () => !(await exists(directory)));
    await cockpit.stopAgent();
    await rename(kept, directory);
    await cockpit.startAgent();
    await until('the removal at the start', async () => !(await exists(directory)));
  });

  it('wait sealed for a job that waits, and are known to the agent that takes it up again', async () => {
    cockpit = await startCockpit({ withAgent: false });
    const { id } = await cockpit.run('while [ ! -e on ]; do sleep 0.02; done; echo $KEY', {
      secrets: { KEY: 'correct horse' },
    });
    const row = await cockpit.db
      .selectFrom('jobs')
      .selectAll()
      .where('id', '=', id)
      .executeTakeFirstOrThrow();
    expect(JSON.stringify({ ...row, secrets: row.secrets?.toString('latin1') })).not.toContain(
      'correct horse',
    );
    await cockpit.startAgent();
    await cockpit.when(id, ({ status }) => status === 'running');
    await cockpit.startAgent();
    await writeFile(join(cockpit.directory, 'on'), '');
    await cockpit.when(id);
    expect((await cockpit.bytes(id)).toString()).toBe('*************\n');
  });

  it('that cannot be opened any more end their own job, running or waiting, and no other', async () => {
    cockpit = await startCockpit({ cancelGraceMs: 100 });
    const { db } = cockpit;
    const running = await cockpit.run('echo $$ >pid; exec sleep 600', { secrets: { KEY: 'correct horse' } });
    await cockpit.when(running.id, ({ status }) => status === 'running');
    await until('its process', () => exists(join(cockpit.directory, 'pid')));
    await cockpit.stopAgent();
    const waiting = await cockpit.run('echo $KEY', { secrets: { KEY: 'battery staple' } });
    const plain = await cockpit.run('echo plain');
    await db
      .updateTable('jobs')
      .set({ secrets: randomBytes(60) })
      .where('id', 'in', [running.id, waiting.id])
      .execute();
    await cockpit.startAgent();
    for (const { id } of [running, waiting]) {
      const job = await cockpit.when(id);
      expect(job.status).toBe('failed');
      expect(job.reason).toMatch(/^its secret variables cannot be opened: the key .* submit it again$/);
    }
    expect(await cockpit.when(plain.id)).toMatchObject({ status: 'done' });
    const pid = Number(await readFile(join(cockpit.directory, 'pid'), 'utf8'));
    expect(() => process.kill(pid, 0)).toThrow('ESRCH');
  });

  it('are refused for terminals, and where they are too short to be masked', async () => {
    cockpit = await startCockpit();
    await expect(
      cockpit.run('sh', { type: 'terminal', secrets: { A: 'long enough' } }),
    ).rejects.toMatchObject({
      code: 'INVALID_INPUT',
    });
  });
});
