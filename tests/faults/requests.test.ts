import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isFinal, type RequestId, type SimulationRequest } from '@vmo/contract';
import { findProgram, findSmallGuestParts } from '@vmo/hypervisor';
import { processesOfJob, startFaultProxy, startTestAgent, startTestServer, until } from '@vmo/testkit';
import { expect, it } from 'vitest';
import { figuresOf, isLong } from './support/figures.ts';
import { storedText } from './support/jobs.ts';

const isThere = findProgram('qemu-system-x86_64') !== null && (await findSmallGuestParts()).missing === null;
/** As that of other jobs, see agents.test.ts. */
const leaseSeconds = isLong ? 30 : 6;
/** The guest counts longer than its first agent may be cut off. */
const counts = isLong ? 300 : 45;

const programsOf = async (uuid: RequestId) =>
  Promise.all((await processesOfJob(uuid)).map((pid) => readFile(`/proc/${String(pid)}/comm`, 'utf8')));

it.skipIf(!isThere)(
  'F19: the machine of a request whose agent is cut off is dead before the request begins again elsewhere',
  async (context) => {
    const figures = figuresOf(context);
    await using server = await startTestServer({
      env: {
        ...{ VMO_AGENT_COUNT: '0', VMO_AGENT_POLL_INTERVAL: '1' },
        VMO_AGENT_LEASE_SECONDS: String(leaseSeconds),
      },
    });
    await using proxy = await startFaultProxy({ host: '127.0.0.1', port: Number(new URL(server.url).port) });
    const env = { VMO_AGENT_COUNT: '1' };
    const through = `http://${proxy.host}:${String(proxy.port)}`;
    await using first = await startTestAgent(server, { name: 'first', through, env });
    const { uuid } = await server.client.call('submitRequest', {
      body: {
        ...{ vm_name: 'small-guest', retry: 1, timeout: 600 },
        commands: `echo begun; for i in $(seq ${String(counts)}); do echo out $i; sleep 0.2; done; echo over`,
      },
    });
    const get = (): Promise<SimulationRequest> =>
      server.client.call('getRequest', { params: { requestId: uuid }, query: {} });
    const when = (what: string, is: (request: SimulationRequest) => boolean) =>
      until(what, async () => get().then((request) => is(request) && request), {
        ...{ timeoutMs: 120_000, everyMs: 100 },
      });
    await when('the first command', ({ results }) => results[0]?.status === 'running');
    await using second = await startTestAgent(server, { name: 'second', env });

    expect(await programsOf(uuid)).toContainEqual(expect.stringMatching(/^qemu/));
    proxy.set({ kind: 'black-hole' });
    const cutAt = Date.now();
    await until('the machine to be gone', async () => (await processesOfJob(uuid)).length === 0, {
      timeoutMs: leaseSeconds * 2_000,
    });
    const goneAt = Date.now();
    figures['its machine was dead after'] = `${((goneAt - cutAt) / 1000).toFixed(1)} s`;
    const again = await when(
      'the next attempt',
      ({ attempt, status }) => attempt === 2 && status === 'running',
    );
    expect(again.agent).toBe('second');
    const margin = Date.parse(again.timeline.booting_at ?? '') - goneAt;
    figures['dead before the next'] = `${(margin / 1000).toFixed(1)} s`;
    expect(margin).toBeGreaterThan(0);

    // What the first one says when it is back is refused, and what it had of the machine goes.
    proxy.set({ kind: 'pass' });
    const left = () => readdir(join(first.dataDirectory, 'storage', 'vms'));
    await until('the left-overs to go', async () => (await left()).length === 0, { timeoutMs: 60_000 });
    expect(await when('the end', ({ status }) => isFinal(status))).toMatchObject({
      ...{ status: 'done', attempt: 2, agent: 'second', exit_code: 0, log_state: 'verified' },
      results: [{ status: 'done', exit_code: 0 }],
    });
    const text = await storedText(server, uuid, 'stdout');
    expect(text.match(/^begun/gm)).toHaveLength(2);
    expect(text.match(/^over/gm)).toHaveLength(1);
    expect(await readdir(join(second.dataDirectory, 'storage', 'vms'))).toEqual([]);
  },
);
