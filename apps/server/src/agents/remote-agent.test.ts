import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isFinal, type Job, type JobId } from '@vmo/contract';
import { startTestAgent, startTestServer, temporaryDirectory, until, type TestServer } from '@vmo/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ env: { VMO_AGENT_LEASE_SECONDS: '6' } });
});
afterAll(() => server[Symbol.asyncDispose]());

const get = async (jobId: JobId): Promise<Job> =>
  (await server.client.call('getJob', { params: { jobId } })).job;
const submit = async (command: string, agent: string): Promise<Job> =>
  (await server.client.call('submitJob', { body: { command, agent } })).job;
const when = (jobId: JobId, is: (job: Job) => boolean): Promise<Job> =>
  until('the job', async () => {
    const job = await get(jobId);
    return is(job) && job;
  });
const statusOf = async (name: string) =>
  (await server.client.call('listAgents')).agents.find((agent) => agent.name === name)?.status;

describe('an agent that is a program of its own', () => {
  it('runs what it is told of at once, in its home directory, and ends what is cancelled', async () => {
    await using agent = await startTestAgent(server, { name: 'worker' });
    expect(await statusOf(agent.name)).toBe('online');
    const { id } = await submit('pwd; echo "$VMO_AGENT_TOKEN$VMO_SERVER|"; exec sleep 61', agent.name);
    const running = await when(id, ({ status, logBytes }) => status === 'running' && logBytes > 0);
    expect(running).toMatchObject({ agent: agent.name, cwd: null });
    const text = async () =>
      (await server.client.download('getLog', { params: { jobId: id }, query: { stream: 'stdout' } })).text();
    // What it needs to speak with the server is none of the job's.
    await until('both lines', async () => (await text()).endsWith('|\n'));
    expect(await text()).toMatch(/^\/.*\n\|\n$/);
    const asked = performance.now();
    await server.client.call('cancelJob', { body: { jobId: id } });
    expect(await when(id, ({ status }) => isFinal(status))).toMatchObject({
      status: 'cancelled',
      signal: 'SIGTERM',
    });
    // By the hint; the next renewal or poll would have taken longer.
    expect(performance.now() - asked).toBeLessThan(10_000);
  });

  it('told to end, takes no more jobs and goes when those that it has are over', async () => {
    await using home = await temporaryDirectory();
    await using agent = await startTestAgent(server, { name: 'leaver' });
    const { id } = await submit(`while [ ! -e ${home.path}/go ]; do sleep 0.05; done; echo end`, agent.name);
    await when(id, ({ status }) => status === 'running');
    agent.signal('SIGTERM');
    await until('it to drain', async () => (await statusOf(agent.name)) === 'draining');
    const later = await submit('true', agent.name);
    expect(later.reason).toBe('waiting: agent leaver takes no more jobs');
    await writeFile(join(home.path, 'go'), '');
    expect(await agent.exited()).toBe(0);
    expect(await get(id)).toMatchObject({ status: 'done', logState: 'verified' });
    expect(await get(later.id)).toMatchObject({ status: 'pending' });
    await agent.restart();
    expect(await when(later.id, ({ status }) => isFinal(status))).toMatchObject({ status: 'done' });
  });

  it('whose token is revoked takes no more work and says so; its runs end, and are lost', async () => {
    await using agent = await startTestAgent(server, { name: 'unwanted' });
    const { id } = await submit('exec sleep 61', agent.name);
    await when(id, ({ status }) => status === 'running');
    await server.client.call('revokeAgent', { params: { agentId: agent.id } });
    expect(await agent.exited()).toBe(1);
    expect(agent.log).toContain('the token of agent unwanted was revoked: it takes no more work');
    expect(await when(id, ({ status }) => isFinal(status))).toMatchObject({ status: 'lost' });
    await expect(agent.restart()).rejects.toThrow(/vmo agent: the token of agent unwanted was revoked/);
  });

  it('is one at a time in its data directory', async () => {
    await using agent = await startTestAgent(server, { name: 'single' });
    await using second = await startTestAgent(server, { name: 'second' });
    await second.kill();
    await expect(second.restart({ VMO_AGENT_DATA_DIR: agent.dataDirectory })).rejects.toThrow(
      /another agent \(pid \d+\) uses .*: stop it, or set VMO_AGENT_DATA_DIR to another directory/,
    );
    // A copy of the token elsewhere gets nothing either.
    await expect(second.restart({ VMO_AGENT_TOKEN: agent.token })).rejects.toThrow(
      /agent single runs somewhere else/,
    );
  });
});
