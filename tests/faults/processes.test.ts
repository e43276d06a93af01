import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { processesOfJob, startTestServer, startTimeOf, until } from '@vmo/testkit';
import { expect, it } from 'vitest';
import { figuresOf, stopwatch } from './support/figures.ts';
import { ended, processesGone, runDirectory, storedText, submit, wrapperOf } from './support/jobs.ts';

it('F4: a job whose wrapper is killed is lost, keeps its output, leaves no process and is not run again', async (context) => {
  const figures = figuresOf(context);
  await using server = await startTestServer();
  const marker = join(server.startDirectory, 'runs');
  const job = await submit(server, {
    command: `echo begun >> '${marker}'; echo first; setsid sleep 300 & (trap '' TERM; sleep 300) & echo last >&2; sleep 300`,
  });
  const wrapper = await wrapperOf(server, job.id);
  await until('its output', async () => (await storedText(server, job.id, 'stderr')) === 'last\n');
  figures.processes = (await processesOfJob(job.id)).length;

  process.kill(wrapper, 'SIGKILL');
  const elapsed = stopwatch();
  const lost = await ended(server, job, 20_000);
  figures['lost after'] = `${(elapsed() / 1000).toFixed(2)} s`;
  await processesGone(job.id);
  figures['processes gone after'] = `${(elapsed() / 1000).toFixed(2)} s`;
  expect(elapsed()).toBeLessThan(10_000);
  expect(lost).toMatchObject({ status: 'lost', exitCode: null });
  expect(lost.reason).toContain('wrapper');
  expect(await storedText(server, job.id, 'stdout')).toBe('first\n');
  expect(await storedText(server, job.id, 'stderr')).toBe('last\n');

  await server.restart();
  await server.kill();
  await server.restart();
  expect((await ended(server, job)).status).toBe('lost');
  expect(await readFile(marker, 'utf8')).toBe('begun\n');
});

interface Bystander extends Disposable {
  pid: number;
  /** Every signal that it was sent. */
  heard: string[];
}

/** A process that has nothing to do with the server, and leads a group and a session of its own. */
async function startBystander(): Promise<Bystander> {
  const program = `
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGCONT', 'SIGUSR1', 'SIGUSR2'])
      process.on(signal, () => console.log(signal));
    setInterval(() => undefined, 1000);
    console.log('ready');`;
  const child = spawn(process.execPath, ['-e', program], {
    detached: true,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const heard: string[] = [];
  child.stdout.on('data', (words: Buffer) => heard.push(...words.toString().trim().split('\n')));
  await once(child.stdout, 'data');
  heard.length = 0;
  if (child.pid === undefined) throw new Error('the bystander did not start');
  return { pid: child.pid, heard, [Symbol.dispose]: () => void child.kill('SIGKILL') };
}

interface Identity {
  pid: number;
  start: string;
  boot: string;
}

it.for<[string, (bystander: Identity, own: Identity) => Identity]>([
  ['the machine was restarted', (bystander) => ({ ...bystander, boot: 'before-the-restart' })],
  ['its pid was given to another process', (bystander, own) => ({ ...own, pid: bystander.pid })],
])(
  'F5: when %s while the server was down, the job is lost and nobody else is signalled',
  async ([, forge], context) => {
    const figures = figuresOf(context);
    await using server = await startTestServer();
    using bystander = await startBystander();
    const marker = join(server.startDirectory, 'runs');
    const job = await submit(server, { command: `echo begun >> '${marker}'; echo output; exec sleep 300` });
    const wrapper = await wrapperOf(server, job.id);
    await until('its output', async () => (await storedText(server, job.id, 'stdout')) === 'output\n');
    const boot = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
    const own = { pid: wrapper, start: await startTimeOf(wrapper), boot };
    await server.kill();
    for (const pid of await processesOfJob(job.id)) process.kill(pid, 'SIGKILL');
    await processesGone(job.id);
    const forged = forge({ pid: bystander.pid, start: await startTimeOf(bystander.pid), boot }, own);
    await writeFile(
      join(runDirectory(server, job.id), 'pid'),
      `pid=${forged.pid}\nstart=${forged.start}\nboot=${forged.boot}\n`,
    );

    await server.restart();
    const elapsed = stopwatch();
    const lost = await ended(server, job);
    figures['lost after'] = `${(elapsed() / 1000).toFixed(2)} s`;
    expect(lost).toMatchObject({ status: 'lost', exitCode: null });
    expect(await storedText(server, job.id, 'stdout')).toBe('output\n');
    expect(await readFile(marker, 'utf8')).toBe('begun\n');
    // A signal sent to it before would arrive before this one.
    process.kill(bystander.pid, 'SIGUSR2');
    await until('the bystander to answer', () => bystander.heard.length > 0);
    figures['signals to the bystander'] = bystander.heard.length - 1;
    expect(bystander.heard).toEqual(['SIGUSR2']);
  },
);
