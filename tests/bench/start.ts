import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { startEmbeddedPostgres } from '@vmo/db';
import type { Bench, Part } from './bench.ts';
import { repeated } from './figures.ts';
import { programTime } from './limits.ts';

const script = join(import.meta.dirname, '..', '..', 'scripts', 'start.sh');

/** Seconds until the line that says it is ready; stopped afterwards, Postgres as well. */
async function start(directory: string): Promise<number> {
  const begin = performance.now();
  const child = spawn('sh', [script], {
    cwd: directory,
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { PATH: process.env.PATH, HOME: homedir(), VMO_DATA_DIR: join(directory, 'data'), VMO_PORT: '0' },
  });
  const ended = once(child, 'exit');
  for await (const line of createInterface(child.stdout)) {
    if (!line.includes('is ready:')) continue;
    const seconds = (performance.now() - begin) / 1000;
    child.kill('SIGTERM');
    await ended;
    return seconds;
  }
  throw new Error('the server did not start');
}

async function startOfPostgres(directory: string): Promise<number> {
  const begin = performance.now();
  const postgres = await startEmbeddedPostgres({ directory: join(directory, 'data', 'postgres') });
  const seconds = (performance.now() - begin) / 1000;
  await postgres.stop();
  return seconds;
}

async function starts({ add }: Bench): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'vmo-start-'));
  try {
    await start(directory); // makes the database
    add({
      name: 'cold start of `npm start` until the ready line',
      unit: 's',
      how: '`sh scripts/start.sh`, installed and built, with a database that exists and was stopped in order',
      values: await repeated(7, () => start(directory)),
      targets: [{ share: 1, atMost: 3 }],
      limits: [
        {
          name: '`node -e 0`',
          values: await repeated(7, async () => (await programTime(process.execPath, ['-e', '0'])) / 1000),
        },
        { name: 'start of its Postgres alone', values: await repeated(5, () => startOfPostgres(directory)) },
      ],
    });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

export const startPart: Part = { name: 'start', limitSeconds: 60, measure: starts };
