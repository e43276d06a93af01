import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryDirectory, until, type TemporaryDirectory } from '@vmo/testkit';
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { connect } from './connect.ts';
import { startEmbeddedPostgres, type EmbeddedPostgres } from './embedded.ts';

let home: TemporaryDirectory;
let running: EmbeddedPostgres | null = null;

beforeAll(async () => {
  home = await temporaryDirectory();
});
afterAll(async () => {
  await running?.stop();
  await home[Symbol.asyncDispose]();
});

async function query(postgres: EmbeddedPostgres, text: string): Promise<unknown[]> {
  const db = connect(postgres.address, { poolSize: 1 });
  try {
    return (await sql.raw(text).execute(db)).rows;
  } finally {
    await db.destroy();
  }
}

const lives = (pid: number) => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

it('makes a cluster, stops it, and finds its data again', async () => {
  const first = await startEmbeddedPostgres({ directory: home.path });
  await query(first, 'create table kept as select 42 as answer');
  await Promise.all([first.stop(), first.stop()]);
  expect(lives(first.pid)).toBe(false);
  running = await startEmbeddedPostgres({ directory: home.path });
  expect(await query(running, 'select answer from kept')).toEqual([{ answer: 42 }]);
});

it('adopts one that is running', async () => {
  const again = await startEmbeddedPostgres({ directory: home.path });
  expect(again.pid).toBe(running?.pid);
  // Both watch over it: one that is left would start it again behind the back of the tests that follow.
  await Promise.all([running?.stop(), again.stop()]);
  running = await startEmbeddedPostgres({ directory: home.path });
});

it('is started again when its postmaster is killed, with everything that was committed', async () => {
  const postgres = running;
  if (!postgres) throw new Error('it does not run');
  await query(postgres, 'insert into kept values (43)');
  const before = postgres.pid;
  process.kill(before, 'SIGKILL');
  await until('another postmaster', () => postgres.pid !== before, { timeoutMs: 20_000 });
  expect(await query(postgres, 'select answer from kept order by 1')).toEqual([
    { answer: 42 },
    { answer: 43 },
  ]);
});

it('starts although the pid file of a crash names a process of somebody else', async () => {
  await running?.stop();
  running = null;
  const bystander = spawn('sleep', ['61'], { stdio: 'ignore' });
  await once(bystander, 'spawn');
  const pid = String(bystander.pid);
  await writeFile(
    join(home.path, 'data', 'postmaster.pid'),
    `${pid}\n${home.path}/data\n1\n5432\n${home.path}\n\n`,
  );
  running = await startEmbeddedPostgres({ directory: home.path });
  expect(await query(running, 'select count(*)::int as n from kept')).toEqual([{ n: 2 }]);
  expect(lives(Number(pid))).toBe(true);
  bystander.kill('SIGKILL');
});

it('says what is wrong when it cannot start', async () => {
  await running?.stop();
  running = null;
  const conf = join(home.path, 'data', 'postgresql.conf');
  await writeFile(conf, `${await readFile(conf, 'utf8')}\nnonsense = 1\n`);
  await expect(startEmbeddedPostgres({ directory: home.path })).rejects.toThrow(
    /did not start: .*nonsense|did not start: .*log/,
  );
});
