import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isFinal, type RequestId, type SimulationRequest } from '@vmo/contract';
import { findProgram, findSmallGuestParts } from '@vmo/hypervisor';
import {
  processesOfJob,
  seededRandom,
  startFaultProxy,
  startTestAgent,
  startTestServer,
  until,
  type TestAgent,
  type TestServer,
} from '@vmo/testkit';
import { describe, expect, it } from 'vitest';
import { clockOff, hourMs } from './support/clock.ts';
import { figuresOf, isLong, spread, stopwatch, type Figures } from './support/figures.ts';
import { storedText } from './support/jobs.ts';

const isThere = findProgram('qemu-system-x86_64') !== null && (await findSmallGuestParts()).missing === null;
/** As that of other jobs, see agents.test.ts. */
const leaseSeconds = isLong ? 30 : 6;
/** The guest counts longer than its agent may be cut off. */
const counts = isLong ? 300 : 45;

const programsOf = async (uuid: RequestId) =>
  Promise.all((await processesOfJob(uuid)).map((pid) => readFile(`/proc/${String(pid)}/comm`, 'utf8')));

const get = (server: TestServer, uuid: RequestId): Promise<SimulationRequest> =>
  server.client.call('getRequest', { params: { requestId: uuid }, query: {} });

const when = (
  server: TestServer,
  uuid: RequestId,
  what: string,
  is: (request: SimulationRequest) => boolean,
) =>
  until(what, async () => get(server, uuid).then((request) => is(request) && request), {
    ...{ timeoutMs: isLong ? 3_600_000 : 120_000, everyMs: 100 },
  });

const machinesOf = ({ dataDirectory }: TestAgent) => readdir(join(dataDirectory, 'storage', 'vms'));

/** No agent of its own: requests are for those on other machines. */
const startServer = (lease: number, env: Record<string, string> = {}) =>
  startTestServer({
    env: {
      ...{ VMO_AGENT_COUNT: '0', VMO_AGENT_POLL_INTERVAL: '1', VMO_AGENT_LEASE_SECONDS: String(lease) },
      ...env,
    },
  });

// Each has a server and agents of its own, and mostly waits.
describe.skipIf(!isThere).concurrent('simulation requests on other machines', () => {
  it('F19, F21: a machine whose agent is cut off, or stopped, is dead before the request begins again elsewhere, whatever time the agents believe it is', async (context) => {
    const figures = figuresOf(context);
    await using server = await startServer(leaseSeconds);
    await using proxy = await startFaultProxy({ host: '127.0.0.1', port: Number(new URL(server.url).port) });
    await using first = await startTestAgent(server, {
      ...{ name: 'first', through: `http://${proxy.host}:${String(proxy.port)}` },
      env: { VMO_AGENT_COUNT: '1', ...clockOff(hourMs) },
    });
    const { uuid } = await server.client.call('submitRequest', {
      body: {
        ...{ vm_name: 'small-guest', retry: 2, timeout: 600 },
        commands: `echo begun; for i in $(seq ${String(counts)}); do echo out $i; sleep 0.2; done; echo over`,
      },
    });
    const isAt = (attempt: number) => (request: SimulationRequest) =>
      request.attempt === attempt && request.results[0]?.status === 'running';
    /** What an agent still has of an attempt that was taken from it is refused: each has to have said a word before. */
    const hasBegun = (attempt: number) =>
      until(`the word of attempt ${String(attempt)}`, async () => {
        const text = await storedText(server, uuid, 'stdout');
        return text.match(/^begun/gm)?.length === attempt;
      });
    await when(server, uuid, 'the first command', isAt(1));
    await hasBegun(1);
    await using second = await startTestAgent(server, {
      ...{ name: 'second', env: { VMO_AGENT_COUNT: '1', ...clockOff(-hourMs) } },
    });

    /** Ends when the next attempt is under way. */
    async function expectNext(attempt: number, agent: string, fault: string): Promise<void> {
      const elapsed = stopwatch();
      await until('the machine to be gone', async () => (await processesOfJob(uuid)).length === 0, {
        timeoutMs: leaseSeconds * 2_000,
      });
      const goneAt = Date.now();
      figures[`${fault}: its machine was dead after`] = `${(elapsed() / 1000).toFixed(1)} s`;
      const again = await when(server, uuid, `attempt ${String(attempt)}`, isAt(attempt));
      expect(again.agent).toBe(agent);
      const margin = Date.parse(again.timeline.booting_at ?? '') - goneAt;
      figures[`${fault}: dead before the next`] = `${(margin / 1000).toFixed(1)} s`;
      expect(margin).toBeGreaterThan(0);
      // By the server's clock, and not an hour away.
      expect(margin).toBeLessThan(leaseSeconds * 10_000);
      await hasBegun(attempt);
    }
    /** What it says when it is back is refused, and what it had of the machine goes. */
    const expectNothingLeft = (agent: TestAgent) =>
      until('the left-overs to go', async () => (await machinesOf(agent)).length === 0, {
        timeoutMs: 60_000,
      });

    expect(await programsOf(uuid)).toContainEqual(expect.stringMatching(/^qemu/));
    proxy.set({ kind: 'black-hole' });
    await expectNext(2, 'second', 'cut off');
    proxy.set({ kind: 'pass' });
    await expectNothingLeft(first);

    const stopped = stopwatch();
    second.signal('SIGSTOP');
    await expectNext(3, 'first', 'stopped');
    await delay(Math.max(leaseSeconds * 2_000 - stopped(), 0));
    second.signal('SIGCONT');
    await expectNothingLeft(second);

    expect(await when(server, uuid, 'the end', ({ status }) => isFinal(status))).toMatchObject({
      ...{ status: 'done', attempt: 3, agent: 'first', exit_code: 0, log_state: 'verified' },
      results: [{ status: 'done', exit_code: 0 }],
    });
    const text = await storedText(server, uuid, 'stdout');
    expect(text.match(/^begun/gm)).toHaveLength(3);
    expect(text.match(/^over/gm)).toHaveLength(1);
    expect(await machinesOf(first)).toEqual([]);
  });

  it('F20, F21: an agent that is killed again and again under a full queue finds its machines, also when the server’s clock is an hour ahead', async (context) => {
    const figures: Figures = figuresOf(context);
    const rounds = isLong ? 50 : 4;
    const count = isLong ? 40 : 3;
    const lines = isLong ? 50 : 15;
    const random = seededRandom(20);
    await using server = await startServer(30, clockOff(hourMs));
    const uuids: RequestId[] = [];
    for (let index = 0; index < count; index++) {
      const { uuid } = await server.client.call('submitRequest', {
        body: {
          ...{ vm_name: 'small-guest', retry: 1, timeout: 600 },
          commands: `echo begun; for i in $(seq ${String(lines)}); do echo line $i; sleep 0.2; done; exit 3`,
        },
      });
      uuids.push(uuid);
    }
    await using agent = await startTestAgent(server, { name: 'far', env: { VMO_AGENT_COUNT: '2' } });
    await Promise.race(
      uuids.map((uuid) =>
        when(server, uuid, 'a machine to start', ({ timeline }) => timeline.booting_at !== null),
      ),
    );
    const adopted: number[] = [];
    for (let round = 0; round < rounds; round++) {
      // The fault itself: it must hit at any moment.
      await delay(200 + 1_300 * random());
      await agent.kill();
      const elapsed = stopwatch();
      // It is ready when it has taken up what it had.
      await agent.restart();
      adopted.push(elapsed());
      Object.assign(figures, { kills: round + 1, 'adopted in': spread(adopted) });
    }
    const text = `begun\n${Array.from({ length: lines }, (_, index) => `line ${String(index + 1)}\n`).join('')}`;
    for (const uuid of uuids) {
      const ended = await when(server, uuid, 'the end', ({ status }) => isFinal(status));
      expect(ended).toMatchObject({
        ...{ status: 'failed', exit_code: 3, attempt: 1, agent: 'far', log_state: 'verified' },
      });
      expect(await storedText(server, uuid, 'stdout')).toBe(text);
      const { queued_at, booting_at, ready_at, running_at, finished_at } = ended.timeline;
      const times = [queued_at, booting_at, ready_at, running_at, finished_at].map((at) =>
        Date.parse(at ?? ''),
      );
      expect(times).toEqual([...times].sort((a, b) => a - b));
    }
    figures.requests = count;
    expect(Math.max(...adopted)).toBeLessThan(5_000);
    expect(await machinesOf(agent)).toEqual([]);
    for (const uuid of uuids) expect(await processesOfJob(uuid)).toEqual([]);
  });
});
