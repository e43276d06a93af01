import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect } from '@vmo/db';
import type { Job, JobEvent } from '@vmo/contract';
import { isRunning, processesOfJob, startTestServer, until, type TestServer } from '@vmo/testkit';
import { sql } from 'kysely';
import { expect, it } from 'vitest';
import { figuresOf } from './support/figures.ts';
import { ended, getJob, runDirectory, storedText, submit, wrapperOf } from './support/jobs.ts';

/** Runs statements in the server's database, behind its back. */
async function tamper(server: TestServer, statement: ReturnType<typeof sql>): Promise<void> {
  const db = connect(server.database, { poolSize: 1 });
  try {
    await statement.execute(db);
  } finally {
    await db.destroy();
  }
}

/** The server is the same process as before, and runs jobs. */
async function expectUnharmed(server: TestServer, pid: number): Promise<void> {
  expect(server.pid).toBe(pid);
  expect(await isRunning(pid)).toBe(true);
  expect((await ended(server, await submit(server, { command: 'true' }))).status).toBe('done');
}

/** The cockpit's own words about a job, without those that open its log with the command. */
async function saidAbout(server: TestServer, { id }: Job): Promise<string> {
  return (await storedText(server, id, 'system')).trimEnd().split('\n').slice(2).join(' / ');
}

const waitFor = (file: string) => `until [ -e '${file}' ]; do sleep 0.02; done`;

it.for([
  [
    'truncates',
    ': > /proc/self/fd/1',
    /^the file of stdout was cut while the job ran, by somebody or by a crash of its machine: what was stored before stays, what the file holds now follows \/ exit 0 after /,
  ],
  [
    'edits',
    'printf FORGED | dd of="/proc/$$/fd/1" conv=notrunc status=none',
    /^the file of stdout is not what was read from it: somebody changed it while the job ran \(SHA-256 [\da-f]{12}… stored, [\da-f]{12}… in the file\); the log keeps what was read first \/ exit 0 after /,
  ],
] as const)(
  'Damage: a job that %s its own output file is told so in its log',
  async ([, damage, words], context) => {
    const figures = figuresOf(context);
    await using server = await startTestServer();
    const { pid } = server;
    const go = join(server.startDirectory, 'go');
    const job = await submit(server, {
      command: `echo the first line, which is stored; ${waitFor(go)}; ${damage}; echo second`,
    });
    await until('its first line', async () => (await storedText(server, job.id, 'stdout')) !== '');
    await writeFile(go, '');
    const { status, exitCode } = await ended(server, job);
    const said = await saidAbout(server, job);
    figures.end = `${status}, exit code ${exitCode ?? 'none'}`;
    figures['system lines'] = JSON.stringify(said);
    expect(await storedText(server, job.id, 'stdout')).toBe('the first line, which is stored\nsecond\n');
    expect(exitCode).toBe(0);
    expect(said).toMatch(words);
    expect((await getJob(server, job.id)).logState).toBe('kept');
    await expectUnharmed(server, pid);
  },
);

it('Damage: an exit record of garbage makes the job lost, in words', async (context) => {
  const figures = figuresOf(context);
  await using server = await startTestServer();
  const job = await submit(server, { command: 'echo output; exec sleep 300' });
  await wrapperOf(server, job.id);
  await until('its output', async () => (await storedText(server, job.id, 'stdout')) === 'output\n');
  await server.kill();
  await writeFile(
    join(runDirectory(server, job.id), 'exit'),
    Buffer.from('code=\xff\0\x1b[31mnonsense\n', 'latin1'),
  );
  await server.restart();
  const lost = await ended(server, job);
  figures.end = `${lost.status}: ${lost.reason ?? ''}`;
  expect(lost.status).toBe('lost');
  expect(lost.reason).toMatch(/exit record.*sleep \(/);
  expect(await processesOfJob(job.id)).toEqual([]);
  expect(await storedText(server, job.id, 'system')).toContain('exit record');
  expect(await storedText(server, job.id, 'stdout')).toBe('output\n');
  await expectUnharmed(server, server.pid);
});

/** A finished job of three events on stdout, the second of which can be damaged. */
async function finishedJob(server: TestServer): Promise<Job> {
  const steps = ['one', 'two', 'three'].map((word) => join(server.startDirectory, word));
  const command = steps
    .map((step, n) => `echo ${['one', 'two', 'three'][n] ?? ''}; ${waitFor(step)}`)
    .join('; ');
  const job = await submit(server, { command });
  for (const [index, step] of steps.entries()) {
    await until(
      'the next line',
      async () => (await storedText(server, job.id, 'stdout')).split('\n').length === index + 2,
    );
    await writeFile(step, '');
  }
  return ended(server, job);
}

it.for([
  ['an unknown codec', sql`codec = 99`],
  ['garbage for zstd', sql`codec = 1, chunk = '\\xdeadbeef'::bytea`],
] as const)(
  'Damage: a stored chunk of %s is told to the reader in words, and the rest is read',
  async ([, change], context) => {
    const figures = figuresOf(context);
    await using server = await startTestServer();
    const { pid } = server;
    const job = await finishedJob(server);
    await tamper(
      server,
      sql`update job_events set ${change} where job_id = ${job.id} and stream = 'stdout' and stream_offset = 4`,
    );
    const headers = { authorization: `Bearer ${server.token}` };
    const url = `${server.url}/api/v1/jobs/${job.id}`;
    const answers = await Promise.all(
      [`${url}/events`, `${url}/log?stream=stdout`].map(async (address) => {
        const response = await fetch(address, { headers });
        return {
          status: response.status,
          text: await response.text().catch((error: unknown) => String(error)),
        };
      }),
    );
    const [events, raw] = answers.map(({ status, text }) => `${status} ${text}`);
    figures.events = JSON.stringify(events?.replace(/^(\d+ ).*?(cannot be read|went wrong).*$/s, '$1… $2 …'));
    figures.download = JSON.stringify(raw);
    await expectUnharmed(server, pid);
    const kept = /one\\?n?\n?.*\[event \d+ of this log cannot be read: .*three/s;
    for (const answer of [events, raw]) {
      expect(answer).toMatch(/^200 /);
      expect(answer).toMatch(kept);
    }
  },
);

it('Damage: a foreign row where a running job goes on is named and removed, and no reader loses a line', async (context) => {
  const figures = figuresOf(context);
  await using server = await startTestServer();
  const { pid } = server;
  const go = join(server.startDirectory, 'go');
  const job = await submit(server, { command: `echo one; ${waitFor(go)}; echo two` });
  await until('its first line', async () => (await storedText(server, job.id, 'stdout')) === 'one\n');
  await tamper(
    server,
    sql`insert into job_events (job_id, ts, stream, chunk, seq, stream_offset, size, lines_before)
        select job_id, now(), 'stdout', 'foreign', seq + 1, 4, 7, lines_before
        from job_events where job_id = ${job.id} order by seq desc limit 1`,
  );
  expect(await storedText(server, job.id, 'stdout')).toBe('one\n');
  // Whoever begins to follow now reads the database, where the foreign row is the newest one.
  const followed: JobEvent[] = [];
  const followedText = () =>
    followed.flatMap(({ stream, chunk }) => (stream === 'stdout' ? [chunk] : [])).join('');
  const told = Promise.withResolvers<undefined>();
  const connection = server.connect();
  connection.followJob({
    jobId: job.id,
    onEvents: (events) => void followed.push(...events),
    onDone: () => {
      told.resolve(undefined);
    },
    onError: told.reject,
  });
  await until('the follower to have the first line', () => Promise.resolve(followedText() !== ''));
  await writeFile(go, '');
  const { status, exitCode } = await ended(server, job);
  figures.end = `${status}, exit code ${exitCode ?? 'none'}`;
  const said = await saidAbout(server, job);
  figures['system lines'] = JSON.stringify(said);
  figures.stored = JSON.stringify(await storedText(server, job.id, 'stdout'));
  await expectUnharmed(server, pid);
  expect(exitCode).toBe(0);
  await told.promise;
  connection.close();
  expect(said).toMatch(
    /^a row that is not ours stood at event \d+ of the stored log; it was removed \/ exit 0 /,
  );
  expect(followedText()).toBe('one\ntwo\n');
  expect(await storedText(server, job.id, 'stdout')).toBe('one\ntwo\n');
  expect((await getJob(server, job.id)).logState).toBe('verified');

  // Also when nobody looks at the log as a whole any more.
  await tamper(
    server,
    sql`insert into job_events (job_id, ts, stream, chunk, seq, stream_offset, size, lines_before)
        select job_id, ts + interval '1 ms', 'stdout', 'foreign', seq + place, stream_offset + 3 * place, 7, lines_before
        from job_events, generate_series(0, 9) as place where job_id = ${job.id} and stream_offset = 4`,
  );
  expect(await storedText(server, job.id, 'stdout')).toBe('one\ntwo\n');
  const { events } = await server.client.call('listEvents', { params: { jobId: job.id }, query: {} });
  expect(events.map(({ seq }) => seq)).toEqual(followed.map(({ seq }) => seq));
  expect(events.map(({ chunk }) => chunk)).toEqual(followed.map(({ chunk }) => chunk));
});
