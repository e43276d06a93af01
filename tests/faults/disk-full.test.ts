import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isRunning, mountTmpfs, startTestServer, until } from '@vmo/testkit';
import { expect, it } from 'vitest';
import { figuresOf, stopwatch } from './support/figures.ts';
import { becomesReady, ended, readiness, reached, storedText, submit, trySubmit } from './support/jobs.ts';
import { startLoad } from './support/load.ts';

const fullInWords = /no space left|disk .*full/i;

it('F8: a job that fills the disk of the spool fails with that reason, and the others go on', async (context) => {
  const figures = figuresOf(context);
  await using server = await startTestServer();
  await using disk = await mountTmpfs(join(server.dataDirectory, 'runs'), 8);
  const go = join(server.startDirectory, 'go');
  const whenFull = join(server.startDirectory, 'full');
  // The block that holds its first line has room for the second one: so it can write while nobody gets another block.
  const other = await submit(server, {
    command: `echo before; until [ -e '${whenFull}' ]; do sleep 0.05; done; echo meanwhile; until [ -e '${go}' ]; do sleep 0.05; done; echo after`,
  });
  await reached(server, other, 'running');
  await until('its first line', async () => (await storedText(server, other.id, 'stdout')) === 'before\n');
  const greedy = await submit(server, { command: 'exec head -c 20000000 /dev/zero' });
  const failed = await ended(server, greedy);
  figures['job that filled it'] = `${failed.status}: ${failed.reason ?? 'no reason'}`;
  const full = await readiness(server);
  figures['/readyz'] = `${full.status} ${full.text}`;
  const words = await storedText(server, greedy.id, 'stderr');
  await writeFile(whenFull, '');
  await until(
    'the line that the other writes meanwhile',
    async () => (await storedText(server, other.id, 'stdout')) === 'before\nmeanwhile\n',
  );
  const late = await ended(server, await submit(server, { command: 'echo late' }));
  figures['job on the full disk'] = `${late.status}: ${late.reason ?? 'no reason'}`;

  await disk.resize(64);
  const elapsed = stopwatch();
  const next = await ended(server, await submit(server, { command: 'echo again' }));
  await becomesReady(server);
  figures['works again after'] = `${(elapsed() / 1000).toFixed(2)} s`;
  await writeFile(go, '');
  expect((await ended(server, other)).status).toBe('done');
  expect(await storedText(server, other.id, 'stdout')).toBe('before\nmeanwhile\nafter\n');
  expect(next.status).toBe('done');
  expect(await storedText(server, next.id, 'stdout')).toBe('again\n');
  expect(failed).toMatchObject({ status: 'failed', exitCode: 1 });
  expect(failed.reason).toMatch(fullInWords);
  expect(words).toMatch(/no space left on device/i);
  expect(late.status).toBe('failed');
  expect(late.reason).toMatch(fullInWords);
  expect(full.status).toBe(503);
  expect(full.text).toMatch(fullInWords);
});

it('F8: a full disk under Postgres is told, costs no byte, and is over as soon as there is space', async (context) => {
  const figures = figuresOf(context);
  const mount: { disk?: Awaited<ReturnType<typeof mountTmpfs>> } = {};
  await using stack = new AsyncDisposableStack();
  const server = stack.use(
    await startTestServer({
      embedded: true,
      prepare: async (dataDirectory) => {
        mount.disk = await mountTmpfs(join(dataDirectory, 'postgres'), 120);
      },
    }),
  );
  const { disk } = mount;
  if (!disk) throw new Error('the disk was not mounted');
  stack.use(disk);
  const { pid } = server;
  const load = await startLoad(server, { jobs: 2, bytes: 50_000_000, bytesPerSecond: 10_000_000 });
  const filling = stopwatch();
  const full = await until(
    '/readyz to tell of the full disk',
    async () => {
      const answer = await readiness(server);
      return answer.status === 503 && fullInWords.test(answer.text) && answer;
    },
    { timeoutMs: 20_000 },
  ).catch(async () => readiness(server));
  figures['told after'] = `${(filling() / 1000).toFixed(1)} s`;
  figures['/readyz'] = `${full.status} ${full.text}`;
  const refused = await trySubmit(server);
  figures['new job'] = refused;

  await disk.resize(1_000);
  const elapsed = stopwatch();
  await becomesReady(server);
  await load.verify(figures);
  figures['all stored after'] = `${(elapsed() / 1000).toFixed(1)} s`;
  expect(server.pid).toBe(pid);
  expect(await isRunning(pid)).toBe(true);
  expect(existsSync(join(server.dataDirectory, 'postgres', 'data', 'postmaster.pid'))).toBe(true);
  expect(full.status).toBe(503);
  expect(full.text).toMatch(fullInWords);
  expect(refused).toBe(503);
});
