import { createHash, randomBytes } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { createHttpAgentApi } from '@vmo/agent';
import {
  agentContractVersion,
  CodedError,
  JobId,
  MachineSpec,
  perStream,
  type AgentApi,
  type AgentCapacity,
  type FreePlaces,
  type Job,
  type JobRef,
  type JobSubmission,
  type RunOutcome,
  type SpoolChunk,
} from '@vmo/contract';
import { connect } from '@vmo/db';
import { findProgram, findSmallGuestParts } from '@vmo/hypervisor';
import { startTestServer, type TestServer } from '@vmo/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newId } from '../kernel/ids.ts';
import { freeJobs, owner, startCockpit } from './harness.test.support.ts';

const isThere = findProgram('qemu-system-x86_64') !== null && (await findSmallGuestParts()).missing === null;

const capacity: AgentCapacity = {
  slots: { jobs: 10, vms: 0, requests: 1 },
  ...{ cpus: 8, memoryMib: 1024, accelerators: ['tcg'], images: [] },
  ...{ fetchesImages: true, imageCacheBytes: 1024 ** 3 },
};

/** One form of the contract, and the way around it. */
interface Form extends AsyncDisposable {
  api: AgentApi;
  /** Another agent of the same kind. */
  other: AgentApi;
  submit(change?: Partial<JobSubmission>): Promise<Job>;
  get(jobId: JobId): Promise<Job>;
  cancel(jobId: JobId): Promise<Job>;
  stdout(jobId: JobId): Promise<Buffer>;
  systemText(jobId: JobId): Promise<string>;
  /** Of a machine of two images, with {@link plan}. */
  submitRequest(): Promise<JobId>;
  artifact(jobId: JobId, sizeBytes: number): Promise<Buffer>;
}

const plan = {
  commands: [{ run: 'cat /etc/words' }],
  ...{ stopOnFailure: true, env: { A: 'b' }, artifacts: ['/etc/words'] },
  files: [{ path: '/etc/words', mode: '644', base64: Buffer.from('words').toString('base64') }],
};
const machine = (id: JobId) =>
  MachineSpec.parse({
    ...{ id, name: 'request', cpus: 1, maxCpus: 1, memoryMib: 256, maxMemoryMib: 256, disks: [] },
    boot: { from: 'kernel', kernel: 'images/kernel', initrd: 'images/initrd', append: '' },
    ...{ network: { mode: 'user', restrict: false, forward: [] }, display: 'none', arguments: [] },
    request: {
      images: ['kernel', 'initrd'].map((name) => ({ name, sha256: 'a'.repeat(64), sizeBytes: 1 })),
      ...{ overlays: [], readySeconds: 60, channel: null, keepOnFailure: false, maxArtifactBytes: 1024 },
    },
  });

async function inProcess(): Promise<Form> {
  const cockpit = await startCockpit({ withAgent: false });
  return {
    api: cockpit.apiOf('one'),
    other: cockpit.apiOf('other'),
    submit: (change = {}) => cockpit.run('true', change),
    get: cockpit.jobs.get,
    cancel: (jobId) => cockpit.jobs.cancel(owner, jobId),
    stdout: (jobId) => cockpit.bytes(jobId, 'stdout'),
    systemText: async (jobId) => (await cockpit.systemLines(jobId)).join('\n'),
    async submitRequest() {
      const id = JobId.parse(newId());
      const rest = { timeout: 60, priority: 0, retries: 0, idempotencyKey: null, isHeld: false };
      const request = { plan, ...rest };
      const run = { id, vmId: null, spec: machine(id), command: 'a request', request };
      await cockpit.jobs.submitMachines(owner, [[run]], () => Promise.resolve());
      return id;
    },
    artifact: async (jobId, sizeBytes) => buffer(await cockpit.jobs.readArtifact(jobId, 0, sizeBytes)),
    [Symbol.asyncDispose]: () => cockpit[Symbol.asyncDispose](),
  };
}

async function overHttp(): Promise<Form> {
  const server = await startTestServer();
  const { client } = server;
  // The agent inside the server takes what any may take as well.
  for (const { id } of (await client.call('listAgents')).agents)
    await client.call('drainAgent', { params: { agentId: id } });
  const connect = async (name: string) => {
    const { token } = await client.call('addAgent', { body: { name } });
    const timeouts = { renewMs: 20_000, callMs: 20_000 };
    const api = createHttpAgentApi({ baseUrl: server.url, token, timeouts });
    await api.hello({
      ...{ contract: agentContractVersion, version: 'test', installation: newId(), capacity },
    });
    return api;
  };
  const read = async (jobId: JobId, stream: 'stdout' | 'system') =>
    Buffer.from(
      await (await client.download('getLog', { params: { jobId }, query: { stream } })).arrayBuffer(),
    );
  return {
    api: await connect('one'),
    other: await connect('other'),
    submit: async (change = {}) =>
      (await client.call('submitJob', { body: { command: 'true', agent: 'any', ...change } })).job,
    get: async (jobId) => (await client.call('getJob', { params: { jobId } })).job,
    cancel: async (jobId) => (await client.call('cancelJob', { body: { jobId } })).job,
    stdout: (jobId) => read(jobId, 'stdout'),
    systemText: async (jobId) => (await read(jobId, 'system')).toString(),
    async submitRequest() {
      const { commands, artifacts, env } = plan;
      const body = {
        ...{ vm_name: 'small-guest', commands: commands.map(({ run }) => run), env, artifacts },
        files: [{ path: '/etc/words', content: 'words' }],
      };
      return (await client.call('submitRequest', { body })).uuid;
    },
    async artifact(jobId) {
      const params = { requestId: jobId, index: 0 };
      return Buffer.from(await (await client.download('getArtifact', { params })).arrayBuffer());
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

const outcome = (change: Partial<RunOutcome> = {}): RunOutcome => ({
  ...{ status: 'done', exitCode: 0, signal: null, reason: null, verified: true, dead: false },
  ...{ startedAt: null, finishedAt: new Date(), lines: ['exit 0'] },
  ...change,
});
const nothing = perStream(() => 0);
const piece = (bytes: Buffer, offset = 0): SpoolChunk => ({
  stream: 'stdout',
  offset,
  bytes,
  ts: new Date(),
});

describe.each([
  ['in the server’s process', inProcess],
  ['over HTTP', overHttp],
])('the agent contract %s', (_, start) => {
  let form: Form;
  beforeAll(async () => {
    form = await start();
  });
  afterAll(() => form[Symbol.asyncDispose]());

  async function take(change: Partial<JobSubmission> = {}): Promise<JobRef> {
    const { id } = await form.submit(change);
    const [job] = await form.api.claim(freeJobs(1));
    if (job?.id !== id) throw new Error('another job was taken');
    return { jobId: id, fence: job.fence };
  }

  it('brings a job from the queue to its end, with every byte', async () => {
    const { id } = await form.submit({ env: { A: 'b' }, timeout: 60 });
    const free: FreePlaces = { ...freeJobs(1), cpus: 8, memoryMib: 1024, machines: 0 };
    const [job] = await form.api.claim(free);
    expect(job).toMatchObject({
      ...{
        id,
        command: 'true',
        place: 'jobs',
        attempt: 1,
        env: { A: 'b' },
        timeout: 60,
        status: 'acknowledged',
      },
      ...{ secrets: {}, cancelRequested: false, offsets: nothing, startedAt: null },
    });
    const ref = { jobId: id, fence: job?.fence ?? 0 };
    expect((await form.api.assigned()).map((one) => one.id)).toEqual([id]);
    const startedAt = new Date();
    expect(await form.api.started(ref, startedAt, ['true'])).toBe(true);
    expect(await form.api.started(ref, startedAt, ['true'])).toBe(true);
    expect(await form.get(id)).toMatchObject({ status: 'running', startedAt: startedAt.toISOString() });
    const bytes = randomBytes(100_000);
    const [front, back] = [bytes.subarray(0, 60_000), bytes.subarray(60_000)];
    const accepted = { status: 'accepted', offsets: { ...nothing, stdout: 100_000 } };
    expect(await form.api.append(ref, [piece(front), piece(back, 60_000)])).toEqual(accepted);
    expect(await form.api.append(ref, [piece(front), piece(back, 60_000)])).toEqual(accepted);
    expect(await form.api.append(ref, [])).toEqual(accepted);
    await form.api.note(ref, ['in the middle']);
    const digest = await form.api.digest(ref);
    expect(digest?.offsets).toEqual(accepted.offsets);
    expect(digest?.sha256.stdout).toBe(createHash('sha256').update(bytes).digest('hex'));
    for (let call = 0; call < 2; call++)
      expect(await form.api.finish(ref, outcome(), accepted.offsets)).toEqual(accepted);
    expect(await form.get(id)).toMatchObject({ status: 'done', exitCode: 0, logState: 'verified' });
    expect((await form.stdout(id)).equals(bytes)).toBe(true);
    expect(await form.systemText(id)).toMatch(/^true\nin the middle\nexit 0/);
    expect(await form.api.assigned()).toEqual([]);
  });

  it.skipIf(!isThere)(
    'brings a simulation request to its end: its machine, its plan, what it says and gives',
    async () => {
      const id = await form.submitRequest();
      expect(await form.api.claim(freeJobs(5))).toEqual([]);
      const [job] = await form.api.claim({ ...freeJobs(0), requests: 1 });
      const needs = { cpus: 1, memoryMib: 256 };
      expect(job).toMatchObject({ id, type: 'vm', place: 'requests', attempt: 1, needs });
      const { boot, request } = MachineSpec.parse(job?.vm);
      // Everything that it is made of, so that it can be made anywhere.
      expect(request?.images?.map(({ name }) => `images/${name}`)).toEqual(
        boot.from === 'kernel' && [boot.kernel, boot.initrd],
      );
      const ref = { jobId: id, fence: job?.fence ?? 0 };
      expect(await form.api.plan(ref)).toMatchObject({
        ...{ stopOnFailure: true, env: { A: 'b' }, files: plan.files, artifacts: ['/etc/words'] },
        commands: [{ run: 'cat /etc/words' }],
      });
      expect(await form.api.started(ref, new Date(), ['it runs'])).toBe(true);
      const at = new Date().toISOString();
      const command = { status: 'failed' as const, exitCode: 3, startedAt: at, finishedAt: at };
      const artifacts = [{ index: 0, sizeBytes: 6, isFolder: false, reason: null }];
      const told = { channel: 'runner' as const, readyAt: at, artifacts, kept: true, keptIn: '/there' };
      const commands = [{ ...command, stdoutBytes: 5, stderrBytes: 0 }];
      const piece = (offset: number, text: string) =>
        form.api.artifact(ref, { index: 0, offset, bytes: Buffer.from(text) });
      // A piece that comes again changes nothing.
      for (const text of ['abc', 'abc']) expect(await piece(0, text)).toBe(true);
      expect(await piece(3, 'def')).toBe(true);
      expect(await form.api.progress(ref, { ...told, commands })).toBe(true);
      const failed = outcome({ status: 'failed', exitCode: 3, reason: 'exit code 3' });
      expect(await form.api.finish(ref, failed, nothing)).toMatchObject({ status: 'accepted' });
      expect(await form.get(id)).toMatchObject({ status: 'failed', exitCode: 3 });
      expect((await form.artifact(id, 6)).toString()).toBe('abcdef');
      expect(await form.api.artifact(ref, { index: 0, offset: 0, bytes: Buffer.from('x') })).toBe(false);
    },
  );

  it('answers a gap with where to go on, and leaves out what it is told to', async () => {
    const ref = await take();
    const ten = Buffer.from('0123456789');
    expect(await form.api.append(ref, [piece(ten, 5)])).toEqual({ status: 'wrong-offset', offsets: nothing });
    expect(await form.api.finish(ref, outcome(), { ...nothing, stdout: 10 })).toEqual({
      ...{ status: 'wrong-offset', offsets: nothing },
    });
    const to = { ...nothing, stdout: 1000 };
    expect(await form.api.cut(ref, nothing, to, ['1,000 bytes are left out'])).toEqual({
      status: 'accepted',
      offsets: to,
    });
    expect(await form.api.cut(ref, nothing, to, ['1,000 bytes are left out'])).toEqual({
      status: 'accepted',
      offsets: to,
    });
    expect(await form.api.cut(ref, nothing, { ...nothing, stdout: 9 }, [])).toEqual({
      status: 'wrong-offset',
      offsets: to,
    });
    expect(await form.api.append(ref, [piece(ten, 1000)])).toMatchObject({ status: 'accepted' });
    expect(await form.api.keepNewest(ref, 1024, ['the first part ends here'])).toBe(true);
  });

  it('gives a job back that never began, and takes it again with another fence', async () => {
    const ref = await take();
    expect(await form.api.release(ref, 'not now')).toBe(true);
    expect(await form.get(ref.jobId)).toMatchObject({ status: 'pending', agent: null, place: 1 });
    const [again] = await form.other.claim(freeJobs(1));
    expect(again).toMatchObject({ id: ref.jobId, fence: ref.fence + 1 });
  });

  it('refuses what comes from another agent or an older attempt, whatever it is', async () => {
    const ref = await take();
    const lost = { status: 'lease-lost' };
    const before = await form.get(ref.jobId);
    for (const [api, stale] of [
      [form.other, ref],
      [form.api, { ...ref, fence: ref.fence - 1 }],
    ] as const) {
      expect(await api.started(stale, new Date(), ['x'])).toBe(false);
      expect(await api.release(stale, 'x')).toBe(false);
      expect(await api.append(stale, [piece(Buffer.from('x'))])).toEqual(lost);
      await api.note(stale, ['x']);
      expect(await api.cut(stale, nothing, { ...nothing, stdout: 1 }, ['x'])).toEqual(lost);
      expect(await api.keepNewest(stale, 1024, ['x'])).toBe(false);
      expect(await api.digest(stale)).toBeNull();
      expect(await api.plan(stale)).toBeNull();
      const progress = {
        channel: null,
        readyAt: null,
        commands: [],
        artifacts: [],
        kept: false,
        keptIn: null,
      };
      expect(await api.progress(stale, progress)).toBe(false);
      expect(await api.artifact(stale, { index: 0, offset: 0, bytes: Buffer.from('x') })).toBe(false);
      expect(await api.finish(stale, outcome(), nothing)).toEqual(lost);
    }
    expect(await form.get(ref.jobId)).toEqual(before);
  });

  it('begins a lost job again where that was asked for, behind what is stored, and never one that may live', async () => {
    const ref = await take({ retry: 1 });
    await form.api.started(ref, new Date(), ['true']);
    await form.api.append(ref, [piece(Buffer.from('first, unfinished'))]);
    const lost = outcome({
      status: 'lost',
      exitCode: null,
      reason: 'gone',
      lines: ['lost: gone'],
      dead: true,
    });
    expect(await form.api.finish(ref, lost, { ...nothing, stdout: 17 })).toMatchObject({
      status: 'accepted',
    });
    expect(await form.get(ref.jobId)).toMatchObject({
      status: 'pending',
      attempt: 2,
      agent: null,
      startedAt: null,
    });
    // Until somebody takes it, its last owner cannot write either.
    expect(await form.api.append(ref, [piece(Buffer.from('late'), 17)])).toEqual({ status: 'lease-lost' });
    const [job] = await form.other.claim(freeJobs(1));
    expect(job).toMatchObject({ id: ref.jobId, attempt: 2, fence: ref.fence + 1, offsets: nothing });
    const next = { jobId: ref.jobId, fence: job?.fence ?? 0 };
    await form.other.started(next, new Date(), ['true']);
    const bytes = Buffer.from('second\n');
    for (let call = 0; call < 2; call++)
      expect(await form.other.append(next, [piece(bytes)])).toEqual({
        ...{ status: 'accepted', offsets: { ...nothing, stdout: 7 } },
      });
    expect((await form.other.digest(next))?.sha256.stdout).toBe(
      createHash('sha256').update(bytes).digest('hex'),
    );
    expect(await form.other.finish(next, lost, { ...nothing, stdout: 7 })).toMatchObject({
      status: 'accepted',
    });
    expect(await form.get(ref.jobId)).toMatchObject({ status: 'lost', attempt: 2 });
    expect((await form.stdout(ref.jobId)).toString()).toBe('first, unfinishedsecond\n');

    const alive = await take({ retry: 1 });
    await form.api.finish(alive, { ...lost, dead: false }, nothing);
    expect(await form.get(alive.jobId)).toMatchObject({ status: 'lost', attempt: 1 });
    const failed = await take({ retry: 1 });
    await form.api.started(failed, new Date(), []);
    await form.api.finish(failed, outcome({ status: 'failed', exitCode: 1 }), nothing);
    expect(await form.get(failed.jobId)).toMatchObject({ status: 'failed', attempt: 1 });
  });

  it('tells of a cancel when the lease is renewed, and a cancelled job does not begin again', async () => {
    const ref = await take({ retry: 3 });
    await form.api.started(ref, new Date(), []);
    expect((await form.api.renew({ capacity, leaving: false, left: [] })).cancelled).toEqual([]);
    await form.cancel(ref.jobId);
    expect(await form.api.renew({ capacity, leaving: false, left: [] })).toMatchObject({
      ...{ draining: false, cancelled: [ref.jobId] },
    });
    expect((await form.other.renew({ capacity, leaving: false, left: [] })).cancelled).toEqual([]);
    await form.api.finish(ref, outcome({ status: 'lost', dead: true }), nothing);
    expect(await form.get(ref.jobId)).toMatchObject({ status: 'lost', attempt: 1 });
  });
});

describe('an agent over HTTP', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer();
  }, 60_000);
  afterAll(() => server[Symbol.asyncDispose]());

  it('is let in with its own token, of the same version, from one place; and not any more when it was revoked', async () => {
    const { client } = server;
    const { agent, token } = await client.call('addAgent', { body: { name: 'far' } });
    expect(agent).toMatchObject({ name: 'far', kind: 'remote', status: 'new', capacity: null });
    const reach = (bearer: string) =>
      createHttpAgentApi({
        baseUrl: server.url,
        token: bearer,
        timeouts: { renewMs: 20_000, callMs: 20_000 },
      });
    const codeOf = (call: Promise<unknown>) =>
      call.then(
        () => 'no error',
        (error: unknown) => (error instanceof CodedError ? error.code : error),
      );
    const api = reach(token);
    const hello = { contract: agentContractVersion, version: '1.2.3', installation: newId(), capacity };
    expect(await codeOf(reach(`${token}x`).hello(hello))).toBe('UNAUTHENTICATED');
    expect(await codeOf(reach(server.token).hello(hello))).toBe('FORBIDDEN');

    // Before it has said who it is, it gets nothing.
    const { job } = await client.call('submitJob', { body: { command: 'true', agent: 'far' } });
    expect(job.reason).toBe('waiting: agent far is not online');
    expect(await api.claim(freeJobs(1))).toEqual([]);
    expect(await api.hello(hello)).toMatchObject({
      name: 'far',
      times: { leaseMs: 30_000, renewMs: 10_000 },
    });
    expect(await codeOf(api.hello({ ...hello, installation: newId() }))).toBe('AGENT_ELSEWHERE');
    const listed = async () => (await client.call('listAgents')).agents.find(({ name }) => name === 'far');
    expect(await listed()).toMatchObject({ status: 'online', version: '1.2.3', capacity });

    const params = { agentId: agent.id };
    await client.call('drainAgent', { params });
    expect(await api.claim(freeJobs(1))).toEqual([]);
    expect(await api.renew({ capacity, leaving: false, left: [] })).toMatchObject({ draining: true });
    expect((await client.call('getJob', { params: { jobId: job.id } })).job.reason).toBe(
      'waiting: agent far takes no more jobs',
    );
    await client.call('resumeAgent', { params });
    expect(await api.claim(freeJobs(1))).toMatchObject([{ id: job.id }]);
    expect(await listed()).toMatchObject({ busy: { jobs: 1, vms: 0, requests: 0 } });
    expect(await codeOf(client.call('removeAgent', { params }))).toBe('AGENT_BUSY');

    // The server was updated while the agent ran: it is told at its next words, and may begin anew.
    const db = connect(server.database);
    await db.updateTable('agents').set({ contract: 1 }).where('name', '=', 'far').execute();
    await db.destroy();
    const behind = {
      code: 'AGENT_INCOMPATIBLE',
      message: `the agent (1.2.3) speaks version 1 of the agent contract and this server version ${String(agentContractVersion)}: update the agent to the version of the server`,
    };
    await expect(api.renew({ capacity, leaving: false, left: [] })).rejects.toMatchObject(behind);
    await expect(api.claim(freeJobs(1))).rejects.toMatchObject(behind);
    await api.hello(hello);
    expect(await api.assigned()).toMatchObject([{ id: job.id }]);

    // Its token is for its work alone.
    const asAgent = await fetch(`${server.url}/api/v1/jobs`, {
      headers: { authorization: `Bearer ${token}` },
    });
    expect(asAgent.status).toBe(403);
    await client.call('revokeAgent', { params });
    expect(await codeOf(api.renew({ capacity, leaving: false, left: [] }))).toBe('AGENT_REVOKED');
    expect(await codeOf(api.claim(freeJobs(1)))).toBe('AGENT_REVOKED');
    expect(await listed()).toMatchObject({ status: 'revoked' });
  });

  it('of another version is told which is which and what to do, whatever else it says', async () => {
    const { client } = server;
    const { token, agent } = await client.call('addAgent', { body: { name: 'strange' } });
    const hello = (body: object) =>
      fetch(`${server.url}/api/v1/agent/hello`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      }).then(async (response) => ({ status: response.status, body: await response.text() }));
    const ours = String(agentContractVersion);
    const older = await hello({ contract: 1, version: '0.0.9', capacity: { cpus: 1 } });
    expect(older).toMatchObject({ status: 409 });
    expect(older.body).toContain(
      `the agent (0.0.9) speaks version 1 of the agent contract and this server version ${ours}: update the agent to the version of the server`,
    );
    expect((await client.call('listAgents')).agents.find(({ id }) => id === agent.id)).toMatchObject({
      ...{ status: 'offline', contract: 1, version: '0.0.9', capacity: null },
    });
    const newer = await hello({ contract: 99, version: '9.9.9', room: 'for what we do not know' });
    expect(newer).toMatchObject({ status: 409 });
    expect(newer.body).toContain(
      `speaks version 99 of the agent contract and this server version ${ours}: update the server to the version of the agent`,
    );
    // One of the same version whose words are wrong is told what is wrong.
    const wrong = await hello({ contract: agentContractVersion, version: '1', installation: 'here' });
    expect(wrong).toMatchObject({ status: 422 });
    expect(wrong.body).toMatch(/installation.*capacity/s);
  });

  it.skipIf(!isThere)(
    'whose request is lost: it begins again as if there had been no attempt before, or says how far that came',
    async () => {
      await using server = await startTestServer({ env: { VMO_AGENT_COUNT: '0' } });
      const { client } = server;
      const { token } = await client.call('addAgent', { body: { name: 'far' } });
      const api = createHttpAgentApi({
        ...{ baseUrl: server.url, token, timeouts: { renewMs: 20_000, callMs: 20_000 } },
      });
      const slots = { ...capacity.slots, requests: 1 };
      await api.hello({
        ...{ contract: agentContractVersion, version: '1.2.3', installation: newId() },
        capacity: { ...capacity, slots },
      });
      const { uuid } = await client.call('submitRequest', {
        body: { vm_name: 'small-guest', commands: ['sleep 60', 'true'], retry: 1 },
      });
      const get = () => client.call('getRequest', { params: { requestId: uuid }, query: {} });
      const lose = async (attempt: number) => {
        const [job] = await api.claim({ ...freeJobs(0), requests: 1 });
        expect(job).toMatchObject({ id: uuid, attempt });
        const ref = { jobId: uuid, fence: job?.fence ?? 0 };
        const at = new Date().toISOString();
        await api.started(ref, new Date(), []);
        const none = { exitCode: null, finishedAt: null, stdoutBytes: null, stderrBytes: null };
        await api.progress(ref, {
          ...{ channel: 'runner', readyAt: at, artifacts: [], kept: false, keptIn: null },
          commands: [
            { ...none, status: 'running', startedAt: at },
            { ...none, status: 'waiting', startedAt: null },
          ],
        });
        expect(await get()).toMatchObject({ channel: 'runner', results: [{ status: 'running' }, {}] });
        await api.finish(ref, outcome({ status: 'lost', exitCode: null, dead: true }), nothing);
      };
      await lose(1);
      expect(await get()).toMatchObject({
        ...{ status: 'pending', attempt: 2, channel: null },
        timeline: { booting_at: null, ready_at: null, running_at: null },
        results: [{ status: 'waiting', started_at: null }, { status: 'waiting' }],
      });
      await lose(2);
      expect(await get()).toMatchObject({
        ...{ status: 'lost', attempt: 2, channel: 'runner' },
        results: [{ status: 'failed', exit_code: null }, { status: 'skipped' }],
      });
    },
  );
});
