import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Job, JobSubmission } from '@vmo/contract';
import {
  isRunning,
  processesOfJob,
  seededRandom,
  startFaultProxy,
  startTestAgent,
  startTestServer,
  temporaryDirectory,
  until,
  type FaultProxy,
  type TestAgent,
  type TestServer,
} from '@vmo/testkit';
import { describe, expect, it } from 'vitest';
import { clockOff, hourMs } from './support/clock.ts';
import { figuresOf, isLong, spread, stopwatch } from './support/figures.ts';
import { ended, getJob, reached, storedText, submit } from './support/jobs.ts';

/** The times of the table, or all of them shorter by the same share: the lease is 30 s, or 6 s. */
const leaseSeconds = isLong ? 30 : 6;
const scale = leaseSeconds / 30;
const seconds = (long: number) => long * scale * 1000;

/** Of its agents only those on other machines take jobs: what any may take is theirs. */
async function startServer(env: Record<string, string> = {}): Promise<TestServer> {
  const server = await startTestServer({
    env: { VMO_AGENT_LEASE_SECONDS: String(leaseSeconds), VMO_AGENT_POLL_INTERVAL: '1', ...env },
  });
  for (const { id } of (await server.client.call('listAgents')).agents)
    await server.client.call('drainAgent', { params: { agentId: id } });
  return server;
}

async function startProxy(server: TestServer): Promise<FaultProxy & { url: string }> {
  const proxy = await startFaultProxy({ host: '127.0.0.1', port: Number(new URL(server.url).port) });
  return Object.assign(proxy, { url: `http://${proxy.host}:${String(proxy.port)}` });
}

/**
 * A job whose attempts say when they begin and, ten times a second, that they live: in a file, where no agent and no server
 * comes between. Ends when `go` is there.
 */
interface Pulse {
  submission: JobSubmission;
  /** Begun attempts, by the pid of each. */
  begun(): Promise<string[]>;
  /** When each attempt was last seen alive. */
  lastBeats(): Promise<Map<string, number>>;
  /** When each attempt began. */
  beginnings(): Promise<Map<string, number>>;
  finish(): Promise<void>;
}

function createPulse(directory: string, change: Partial<JobSubmission>): Pulse {
  const file = join(directory, 'pulse');
  const read = async () =>
    (await readFile(file, 'utf8').catch(() => ''))
      .split('\n')
      .filter(Boolean)
      .map((line) => line.split(' '))
      .map(([what = '', pid = '', at = '']) => ({ what, pid, at: Number(at) * 1000 }));
  const timesOf = async (kind: string) =>
    new Map((await read()).filter(({ what }) => what === kind).map(({ pid, at }) => [pid, at]));
  return {
    submission: {
      command: `trap '' TERM; echo begun $$; echo "begin $$ $(date +%s.%N)" >>${file}
i=0; while [ ! -e ${directory}/go ]; do i=$((i+1)); echo "beat $$ $(date +%s.%N)" >>${file}; echo "out $i"; sleep 0.1; done; echo done $$`,
      ...change,
    },
    begun: async () => [...(await timesOf('begin')).keys()],
    lastBeats: () => timesOf('beat'),
    beginnings: () => timesOf('begin'),
    finish: () => writeFile(join(directory, 'go'), ''),
  };
}

const isOffline = (server: TestServer, name: string) => async () => {
  const { agents } = await server.client.call('listAgents');
  return agents.some((agent) => agent.name === name && agent.status === 'offline');
};

/** Attempts never overlapped: the one before was seen alive for the last time before the next began. */
async function expectOneAfterAnother(pulse: Pulse): Promise<number> {
  const beginnings = [...(await pulse.beginnings())].sort(([, a], [, b]) => a - b);
  const beats = await pulse.lastBeats();
  let least = Infinity;
  for (const [index, [, at]] of beginnings.entries()) {
    const before = beginnings[index - 1];
    if (!before) continue;
    const gap = at - (beats.get(before[0]) ?? 0);
    least = Math.min(least, gap);
    expect(gap).toBeGreaterThan(0);
  }
  return least;
}

// Each has servers and agents of its own, and mostly waits.
describe.concurrent('F19: an agent that is cut off', () => {
  it('F19a: for half of its lease goes on with the same attempt', async (context) => {
    const figures = figuresOf(context);
    await using home = await temporaryDirectory();
    await using server = await startServer();
    await using proxy = await startProxy(server);
    await using agent = await startTestAgent(server, { name: 'far', through: proxy.url });
    const pulse = createPulse(home.path, { agent: agent.name, retry: 1 });
    const job = await submit(server, pulse.submission);
    await reached(server, job, 'running');
    const cuts = isLong ? 4 : 2;
    for (let cut = 0; cut < cuts; cut++) {
      proxy.set({ kind: 'black-hole' });
      await delay(seconds(15));
      proxy.set({ kind: 'pass' });
      await delay(seconds(10));
      figures.cuts = cut + 1;
    }
    await pulse.finish();
    expect(await ended(server, job)).toMatchObject({
      status: 'done',
      attempt: 1,
      exitCode: 0,
      logState: 'verified',
    });
    expect(await pulse.begun()).toHaveLength(1);
  });

  it('F19b: for twice its lease has no run any more when the next attempt begins, and its late writes are refused', async (context) => {
    const figures = figuresOf(context);
    await using home = await temporaryDirectory();
    await using server = await startServer();
    await using proxy = await startProxy(server);
    await using first = await startTestAgent(server, { name: 'first', through: proxy.url });
    const pulse = createPulse(home.path, { agent: 'any', retry: 1 });
    const job = await submit(server, pulse.submission);
    expect(await reached(server, job, 'running')).toMatchObject({ agent: 'first' });
    await using second = await startTestAgent(server, { name: 'second' });
    const cutAt = Date.now();
    proxy.set({ kind: 'black-hole' });
    const taken = await until(
      'the next attempt',
      async () => {
        const now = await getJob(server, job.id);
        return now.attempt === 2 && now.status === 'running' && now;
      },
      { timeoutMs: seconds(60) + 20_000 },
    );
    figures['found and begun again after'] = `${((Date.now() - cutAt) / 1000).toFixed(1)} s`;
    expect(taken.agent).toBe(second.name);
    const before = await storedText(server, job.id, 'stdout');
    // What the black hole swallowed arrives now, with the fence of the first attempt.
    proxy.set({ kind: 'pass' });
    await until('the first agent to be back', async () => !(await isOffline(server, first.name)()), {
      timeoutMs: 30_000,
    });
    await pulse.finish();
    expect(await ended(server, job)).toMatchObject({
      status: 'done',
      attempt: 2,
      agent: 'second',
      exitCode: 0,
    });
    const text = await storedText(server, job.id, 'stdout');
    expect(text.startsWith(before.slice(0, before.lastIndexOf('\n')))).toBe(true);
    expect(text.match(/^begun/gm)).toHaveLength(2);
    const [one = '', two = ''] = text.split(/(?<=\n)(?=begun)|(?=begun)/).filter(Boolean);
    for (const part of [one, two]) {
      const numbers = [...part.matchAll(/^out (\d+)$/gm)].map(([, number]) => Number(number));
      expect(numbers).toEqual(numbers.map((_, index) => index + 1));
    }
    expect(await storedText(server, job.id, 'system')).toMatch(
      /lost: agent first has not been heard of for .* s\nattempt 2 of 2 follows/,
    );
    expect(await pulse.begun()).toHaveLength(2);
    figures['dead before the next'] = `${((await expectOneAfterAnother(pulse)) / 1000).toFixed(1)} s`;
  });

  it('F19c: stopped (SIGSTOP) for twice its lease, its run ends all the same, before the next begins', async (context) => {
    const figures = figuresOf(context);
    await using home = await temporaryDirectory();
    await using server = await startServer();
    await using first = await startTestAgent(server, { name: 'first' });
    const pulse = createPulse(home.path, { agent: 'any', retry: 1 });
    const job = await submit(server, pulse.submission);
    expect(await reached(server, job, 'running')).toMatchObject({ agent: 'first' });
    await using second = await startTestAgent(server, { name: 'second' });
    const stoppedAt = Date.now();
    first.signal('SIGSTOP');
    await until(
      'the next attempt',
      async () => {
        const now = await getJob(server, job.id);
        return now.attempt === 2 && now.status === 'running';
      },
      { timeoutMs: seconds(60) + 20_000 },
    );
    figures['begun again after'] = `${((Date.now() - stoppedAt) / 1000).toFixed(1)} s`;
    await delay(Math.max(seconds(60) - (Date.now() - stoppedAt), 0));
    first.signal('SIGCONT');
    await until('the first agent to be back', async () => !(await isOffline(server, first.name)()), {
      timeoutMs: 30_000,
    });
    await pulse.finish();
    expect(await ended(server, job)).toMatchObject({ status: 'done', attempt: 2, agent: second.name });
    expect(await pulse.begun()).toHaveLength(2);
    figures['dead before the next'] = `${((await expectOneAfterAnother(pulse)) / 1000).toFixed(1)} s`;
    expect((await storedText(server, job.id, 'stdout')).match(/^begun/gm)).toHaveLength(2);
  });

  it('F19d: killed for good with a job that is not to be tried again, it is lost within one and a half leases', async (context) => {
    const figures = figuresOf(context);
    await using home = await temporaryDirectory();
    await using server = await startServer();
    await using agent = await startTestAgent(server, { name: 'far' });
    const pulse = createPulse(home.path, { agent: agent.name });
    const job = await submit(server, pulse.submission);
    await reached(server, job, 'running');
    const elapsed = stopwatch();
    await agent.kill();
    expect(await ended(server, job)).toMatchObject({
      status: 'lost',
      reason: expect.stringMatching(/^agent far has not been heard of for /) as string,
    });
    figures['found after'] = `${(elapsed() / 1000).toFixed(1)} s`;
    expect(elapsed()).toBeLessThan(seconds(45));
    expect(await processesOfJob(job.id)).toEqual([]);
    // With nothing left to guard, the guardian goes.
    const guardian = await agent.guardian();
    await until('the guardian to go', async () => !(await isRunning(guardian)), { timeoutMs: 20_000 });
  });
});

it('F20: an agent that is killed again and again under a full queue finds its runs; none is lost or doubled', async (context) => {
  const figures = figuresOf(context);
  const rounds = isLong ? 50 : 5;
  const count = isLong ? 200 : 40;
  const random = seededRandom(20);
  await using home = await temporaryDirectory();
  await using server = await startServer({ VMO_AGENT_LEASE_SECONDS: '30' });
  await using agent = await startTestAgent(server, { name: 'far', env: { VMO_MAX_CONCURRENT_JOBS: '8' } });
  const file = join(home.path, 'ran');
  await writeFile(file, '');
  const jobs: Job[] = [];
  for (let index = 0; index < count; index++)
    jobs.push(
      await submit(server, {
        command: `echo ${String(index)} >>${file}; for i in 1 2 3 4 5 6 7 8 9 10; do echo "line $i"; sleep ${isLong ? '0.3' : '0.15'}; done`,
        agent: agent.name,
      }),
    );
  const adopted: number[] = [];
  for (let round = 0; round < rounds; round++) {
    // The fault itself: it must hit at any moment.
    await delay(200 + 500 * random());
    await agent.kill();
    const elapsed = stopwatch();
    // It is ready when it has taken up what it had.
    await agent.restart();
    adopted.push(elapsed());
    figures.kills = round + 1;
    figures['runs found after'] = spread(adopted);
  }
  const lines = Array.from({ length: 10 }, (_, index) => `line ${String(index + 1)}\n`).join('');
  for (const job of jobs) {
    expect(await ended(server, job, 120_000)).toMatchObject({
      status: 'done',
      attempt: 1,
      logState: 'verified',
    });
    expect(await storedText(server, job.id, 'stdout')).toBe(lines);
  }
  const ran = (await readFile(file, 'utf8')).trim().split('\n').map(Number);
  expect(ran.sort((a, b) => a - b)).toEqual(jobs.map((_, index) => index));
  figures.jobs = jobs.length;
  expect(Math.max(...adopted)).toBeLessThan(5_000);
});

describe.concurrent('F21: a clock that is wrong by an hour', () => {
  it.each([
    ['the agent’s, an hour ahead', hourMs, 'agent'],
    ['the agent’s, an hour behind', -hourMs, 'agent'],
    ['the server’s, an hour ahead', hourMs, 'server'],
    ['the server’s, an hour behind', -hourMs, 'server'],
  ])('%s: leases hold while they are renewed, and end when they are not', async (_, ms, who) => {
    await using home = await temporaryDirectory();
    await using server = await startServer(who === 'server' ? clockOff(ms) : {});
    await using agent: TestAgent = await startTestAgent(server, {
      name: 'far',
      env: who === 'agent' ? clockOff(ms) : {},
    });
    const pulse = createPulse(home.path, { agent: agent.name });
    const job = await submit(server, pulse.submission);
    await reached(server, job, 'running');
    await delay(seconds(60));
    expect(await getJob(server, job.id)).toMatchObject({ status: 'running', attempt: 1 });
    const elapsed = stopwatch();
    await agent.kill();
    const lost = await ended(server, job);
    expect(lost.status).toBe('lost');
    expect(elapsed()).toBeGreaterThan(seconds(20));
    expect(elapsed()).toBeLessThan(seconds(45));
    // By one clock, that of the server, whoever was wrong.
    const [created, started] = [Date.parse(lost.createdAt), Date.parse(lost.startedAt ?? '')];
    if (who === 'agent') expect(Math.abs(started - created)).toBeLessThan(60_000);
    await appendFile(join(home.path, 'go'), '');
  });
});
