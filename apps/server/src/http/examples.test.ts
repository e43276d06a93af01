import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { agentContractVersion, routes, VmId, type RouteName } from '@vmo/contract';
import { startSshd, startTestServer, until } from '@vmo/testkit';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { createRecorder, type Call } from './examples.test.support.ts';

const mib = 1024 * 1024;
const Found = (...path: string[]) =>
  z.unknown().transform((value) => {
    let at: unknown = value;
    for (const key of path) at = z.record(z.string(), z.unknown()).parse(at)[key];
    return z.string().parse(at);
  });

it(
  'every route is shown with a request that this server answers as it says',
  { timeout: 240_000 },
  async () => {
    await using stack = new AsyncDisposableStack();
    const server = stack.use(await startTestServer({ env: { VMO_TERM_CMD: 'true', VMO_AGENT_COUNT: '1' } }));
    const sshd = stack.use(await startSshd());
    const { call, taken, settle } = createRecorder(server, {
      [dirname(sshd.identityFile)]: '/home/me/.ssh',
      [homedir()]: '/home/me',
    });
    const ask = async (name: RouteName, options?: Call) => (await call(name, options)).answer;
    const idOf = async (name: RouteName, path: string[], options?: Call) =>
      Found(...path).parse(await ask(name, options));
    const statusOf = async (jobId: string) => idOf('getJob', ['job', 'status'], { params: { jobId } });

    await ask('health');
    await ask('readiness');
    const login = await call('login', { body: { token: server.token } });
    const cookie = login.headers.get('set-cookie')?.split(';')[0] ?? '';
    await ask('getSession', { cookie });
    await ask('logout', { cookie });
    await ask('getInfo');
    await ask('getSettings');

    const workspace = { name: 'firmware', directory: server.startDirectory };
    await writeFile(join(server.startDirectory, 'Makefile'), '## Says hello\nhello:\n\t@echo hello\n');
    const { workspaces } = await server.client.call('listWorkspaces');
    for (const { id, directory } of workspaces)
      if (directory === server.startDirectory)
        await server.client.call('removeWorkspace', { params: { workspaceId: id } });
    const workspaceId = await idOf('addWorkspace', ['workspace', 'id'], { body: workspace });
    await ask('listWorkspaces');
    await ask('changeWorkspace', { params: { workspaceId }, body: { name: 'firmware-2' } });
    await ask('listTargets', { params: { workspaceId } });

    const job = { command: 'echo hello; echo careful >&2', workspaceId };
    const jobId = await idOf('submitJob', ['job', 'id'], { body: job });
    await until('its end', async () => (await statusOf(jobId)) === 'done', { timeoutMs: 60_000 });
    const ofJob = { params: { jobId } };
    await ask('listJobs', { query: { q: 'hello', limit: 10 } });
    await ask('listEvents', { ...ofJob, query: { afterSeq: 0, limit: 100 } });
    await ask('getLog', { ...ofJob, query: { stream: 'stdout' } });
    await ask('listLines', { ...ofJob, query: { last: 10 } });
    await ask('findInLog', { ...ofJob, query: { text: 'careful' } });
    await ask('getMarks', ofJob);
    await ask('rerunJob', ofJob);
    const long = await idOf('submitJob', ['job', 'id'], { body: { command: 'sleep 600' } });
    await ask('cancelJob', { body: { jobId: long } });
    const shell = await idOf('submitJob', ['job', 'id'], { body: { command: 'sh', type: 'terminal' } });
    await until('a terminal', async () => (await statusOf(shell)) === 'running', { timeoutMs: 60_000 });
    await ask('openTerminal', { params: { jobId: shell } });
    await ask('cancelJob', { body: { jobId: shell } });
    await ask('getLogUsage');
    await ask('expireLogs');
    await ask('removeWorkspace', { params: { workspaceId } });

    const { port, user, identityFile, fingerprint } = sshd;
    const host = { name: 'build-7', address: sshd.host, user, port, identityFile };
    const hostId = await idOf('addHost', ['host', 'id'], { body: host });
    const ofHost = { params: { hostId } };
    await ask('trustHost', { ...ofHost, body: { fingerprint } });
    await ask('testHost', ofHost);
    await ask('changeHost', { ...ofHost, body: { name: 'build-8' } });
    await ask('listHosts');
    await ask('removeHost', ofHost);

    const bytes = randomBytes(mib);
    const ofImage = { params: { imageName: 'tools.raw' } };
    await ask('createImage', { body: { name: 'tools.raw', format: 'raw', sizeBytes: bytes.length } });
    await ask('putImageBytes', { ...ofImage, query: { offset: 0 }, bytes: Uint8Array.from(bytes) });
    await ask('getImage', ofImage);
    await ask('listImages');
    const template = { name: 'tools', image: 'tools.raw', memoryMib: 64 };
    const templateId = await idOf('createTemplate', ['template', 'id'], { body: template });
    await ask('listTemplates');
    const diskId = await idOf('createDisk', ['disk', 'id'], { body: { name: 'scratch', sizeBytes: mib } });
    const ofDisk = { params: { diskId } };
    const isReady = async (id: string) =>
      (await idOf('getDisk', ['disk', 'state'], { params: { diskId: id } })) === 'ready';
    await until('the disk', () => isReady(diskId), { timeoutMs: 60_000 });
    await ask('resizeDisk', { ...ofDisk, body: { sizeBytes: 2 * mib } });
    await until('its new size', () => isReady(diskId), { timeoutMs: 60_000 });
    await ask('listDisks');

    const vm = { name: 'web-1', memoryMib: 64, diskSizeBytes: mib, start: false };
    const vmId = await idOf('createVm', ['vm', 'id'], { body: vm });
    const ofVm = { params: { vmId } };
    /** The operation has ended. */
    async function settled(answer: unknown): Promise<void> {
      const operationId = Found('operation', 'id').parse(answer);
      await until(
        'the operation',
        async () => {
          const status = await idOf('getOperation', ['operation', 'status'], { params: { operationId } });
          if (status === 'failed') throw new Error(`operation ${operationId} failed: ${server.log}`);
          return status === 'done';
        },
        { timeoutMs: 60_000, everyMs: 100 },
      );
    }
    const vmStatus = () => idOf('getVm', ['vm', 'status'], ofVm);
    await until('the machine', async () => (await vmStatus()) === 'stopped', { timeoutMs: 60_000 });
    await ask('listVms', { query: { limit: 10 } });
    await ask('changeVm', { ...ofVm, body: { maxMemoryMib: 256 } });
    await ask('probeVmHost');
    await settled(await ask('attachDisk', { ...ofVm, body: { diskId } }));
    await settled(await ask('detachDisk', { params: { vmId, diskId } }));
    await ask('deleteDisk', ofDisk);
    const snapshot = await ask('createSnapshot', { ...ofVm, body: { name: 'before-update' } });
    await settled(snapshot);
    await ask('listSnapshots', ofVm);
    const { snapshots } = await server.client.call('listSnapshots', {
      params: { vmId: z.custom<never>().parse(vmId) },
    });
    const ofSnapshot = { params: { snapshotId: snapshots[0]?.id ?? '' } };
    await settled(await ask('restoreSnapshot', ofSnapshot));
    await settled(await ask('deleteSnapshot', ofSnapshot));
    await settled(await ask('cloneVm', { ...ofVm, body: { name: 'web-2' } }));
    await settled(await ask('actOnVm', { ...ofVm, body: { action: 'start' } }));
    await settled(await ask('resizeVm', { ...ofVm, body: { balloonMib: 64 } }));
    await ask('getVmMetrics', ofVm);
    await ask('getVmScreenshot', ofVm);
    await ask('getVmThumbnail', ofVm);
    await ask('actOnVms', { body: { vmIds: [vmId], action: 'force-stop' } });
    await until('its end', async () => (await vmStatus()) === 'stopped', { timeoutMs: 60_000 });
    await ask('listVmOperations', ofVm);
    await ask('deleteVm', { ...ofVm, query: { disks: 'true' } });

    await ask('getVmHost');
    await ask('getVmHostMetrics');

    await openKept();
    await requests();
    await agents();
    await ask('deleteTemplate', { params: { templateId } });
    await ask('deleteImage', ofImage);

    /** The one guest that boots here: it fails, and leaves its disk. Whatever is submitted after it waits. */
    async function openKept(): Promise<void> {
      const tried = await idOf('tryVm', ['vm', 'id']);
      const reached = (vmId: VmId, wanted: string) =>
        until(
          wanted,
          async () => (await server.client.call('getVm', { params: { vmId } })).vm.status === wanted,
          { timeoutMs: 60_000 },
        );
      const vmId = VmId.parse(tried);
      // Its guest is built by then.
      await reached(vmId, 'running');
      await server.client.call('actOnVms', { body: { vmIds: [vmId], action: 'force-stop' } });
      const { vm: base } = await server.client.call('createVm', {
        body: {
          ...{ name: 'with-disk', memoryMib: 256, diskSizeBytes: mib, start: false },
          boot: {
            from: 'kernel',
            ...{ kernel: 'small-guest.kernel', initrd: 'small-guest.initrd', append: 'console=ttyS0 quiet' },
          },
        },
      });
      await reached(base.id, 'stopped');
      const body = { vm_name: 'with-disk', commands: 'exit 3', keep_on_failure: true };
      const ofKept = { params: { requestId: await idOf('submitRequest', ['uuid'], { body }) } };
      const status = () => idOf('getRequest', ['status'], { ...ofKept, query: { wait: 20 } });
      await until('it to fail', async () => (await status()) === 'failed', { timeoutMs: 120_000 });
      // Had its machine not started, there would be nothing to open.
      expect(await idOf('getRequest', ['message'], ofKept)).toBe('exit code 3');
      await ask('openRequest', { ...ofKept, query: { start: 'false' } });
      const { agents: mine } = await server.client.call('listAgents');
      for (const { id: agentId } of mine) await server.client.call('drainAgent', { params: { agentId } });
    }

    async function requests(): Promise<void> {
      const options = { hold: true, timeout: 60 };
      const body = { vm_name: 'tools', commands: 'make test', ...options };
      const requestId = await idOf('submitRequest', ['uuid'], { body });
      const ofRequest = { params: { requestId } };
      const matrix = { vm_names: ['tools'], commands: ['uname -a', 'id'], ...options };
      await ask('submitBatch', { body: matrix });
      await ask('listRequests', { query: { vm_name: 'tools', limit: 10 } });
      await ask('getRequest', { ...ofRequest, query: { wait: 0 } });
      await ask('listRequestLogs', { ...ofRequest, query: { limit: 100 } });
      await ask('changeRequestStatus', { ...ofRequest, body: { status: 'cancelled' } });
      const again = await idOf('rerunRequest', ['uuid'], ofRequest);
      await ask('deleteRequest', { params: { requestId: again } });
      await ask('deleteRequest', ofRequest);
      await ask('getRequestStatistics', { query: { days: 7 } });
      await ask('getRunner');
    }

    async function agents(): Promise<void> {
      const added = await ask('addAgent', { body: { name: 'builder' } });
      const [agentId, token] = [Found('agent', 'id').parse(added), Found('token').parse(added)];
      const capacity = {
        slots: { jobs: 2, vms: 0, requests: 1 },
        ...{ cpus: 4, memoryMib: 4096, accelerators: ['tcg'], images: [] },
        ...{ fetchesImages: true, imageCacheBytes: 1024 * mib },
      };
      const mine = (options: Call = {}) => ({ ...options, token });
      const introduction = {
        contract: agentContractVersion,
        version: '0.1.0',
        installation: randomUUID(),
        capacity,
      };
      await ask('agentHello', mine({ body: introduction }));
      await ask('agentRenew', mine({ body: { capacity, leaving: false } }));
      const at = new Date().toISOString();
      const none = { stdout: 0, stderr: 0, boot: 0, command: 0 };
      const outcome = {
        ...{ status: 'done', exitCode: 0, signal: null, reason: null, startedAt: at, finishedAt: at },
        ...{ verified: true, lines: ['exit 0'], dead: true },
      };
      const wanted = { vm_name: 'tools', commands: 'make test', artifacts: ['/report.xml'] };
      await ask('agentNews', mine());
      const free = { ...capacity.slots, cpus: 4, memoryMib: 4096, machines: null };
      const Claimed = z.object({ jobs: z.array(z.object({ id: z.string(), fence: z.int() })) });
      const take = async () => {
        const [first] = Claimed.parse(await ask('agentClaim', mine({ body: free }))).jobs;
        if (!first) throw new Error('there was nothing to claim');
        return first;
      };
      await bringing();
      const { uuid: requestId } = await server.client.call('submitRequest', { body: wanted });
      const { id, fence } = await take();
      await ask('agentAssigned', mine());
      const sha256 = Found('image', 'sha256').parse(await ask('getImage', ofImage));
      await ask('agentImage', mine({ params: { sha256 }, query: { offset: 0 } }));
      await ask(
        'agentRelease',
        mine({ params: { jobId: id }, body: { fence, reason: 'it is about to end' } }),
      );
      const again = await take();
      const ofRun = (body: object) => mine({ params: { jobId: id }, body: { fence: again.fence, ...body } });
      await ask('agentStarted', ofRun({ startedAt: at, lines: ['started'] }));
      await ask('agentNote', ofRun({ lines: ['a word of the agent'] }));
      await ask('agentPlan', ofRun({}));
      const head = JSON.stringify({ chunks: [{ stream: 'stdout', offset: 0, size: 6, ts: at }] });
      const query = { fence: again.fence };
      const sent = { bytes: Uint8Array.from(Buffer.from(`${head}\nhello\n`)), params: { jobId: id } };
      await ask('agentAppend', mine({ ...sent, query }));
      await ask(
        'agentCut',
        ofRun({ from: { ...none, stdout: 6 }, to: { ...none, stdout: 12 }, lines: ['cut'] }),
      );
      await ask('agentKeepNewest', ofRun({ tailBytes: mib, lines: ['the newest is kept'] }));
      const commands = [{ status: 'running', exitCode: null, startedAt: at, finishedAt: null }];
      const counted = commands.map((one) => ({ ...one, stdoutBytes: null, stderrBytes: null }));
      const artifacts = [{ index: 0, sizeBytes: 3, isFolder: false, reason: null }];
      const progress = { channel: 'runner', readyAt: at, commands: counted, artifacts, kept: false };
      const piece = { params: { jobId: id, index: 0 }, query: { fence: again.fence, offset: 0 } };
      await ask('agentArtifact', mine({ ...piece, bytes: Uint8Array.from([1, 2, 3]) }));
      await ask('agentProgress', ofRun({ progress }));
      await ask('agentDigest', ofRun({}));
      await ask('agentFinish', ofRun({ outcome, sizes: { ...none, stdout: 12 } }));
      await ask('getArtifact', { params: { requestId, index: 0 } });
      await ask('listAgents');
      await ask('drainAgent', { params: { agentId } });
      await ask('resumeAgent', { params: { agentId } });
      await ask('revokeAgent', { params: { agentId } });
      await ask('removeAgent', { params: { agentId } });

      /** A request that failed, and whose agent sends its disk. */
      async function bringing(): Promise<void> {
        const body = { ...wanted, artifacts: [], keep_on_failure: true };
        const { uuid } = await server.client.call('submitRequest', { body });
        await ask('agentNews', mine());
        const { fence } = await take();
        const ofRun = (more: object) => mine({ params: { jobId: uuid }, body: { fence, ...more } });
        await ask('agentStarted', ofRun({ startedAt: at, lines: [] }));
        const keptIn = '/var/lib/vmo-agent/storage/vms/request';
        const progress = { channel: null, readyAt: null, commands: [], artifacts: [], kept: true, keptIn };
        await ask('agentProgress', ofRun({ progress }));
        await ask('agentFinish', ofRun({ outcome: { ...outcome, status: 'failed' }, sizes: none }));
        await ask('bringRequest', { params: { requestId: uuid } });
        const disk = randomBytes(1024);
        const files = [{ sizeBytes: 4096, sha256: createHash('sha256').update(disk).digest('hex') }];
        await ask('agentKept', mine({ params: { jobId: uuid }, body: { files } }));
        const first = { params: { jobId: uuid, index: 0 }, query: { offset: 0 } };
        await ask('agentKeptPiece', mine({ ...first, bytes: Uint8Array.from(disk) }));
      }
    }

    expect([...taken.keys()].sort()).toEqual(Object.keys(routes).sort());
    await settle();
  },
);
