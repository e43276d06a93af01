import { execFile } from 'node:child_process';
import { readdir, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  isFinal,
  type JobId,
  type NewRequest,
  type RequestFilter,
  type RequestId,
  SimulationRequest,
} from '@vmo/contract';
import { findProgram, findSmallGuestParts, runAtBoot } from '@vmo/hypervisor';
import { startTestServer, until, type TestServer } from '@vmo/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

/* The real server with the real QEMU and the small guest, from outside. */

const execute = promisify(execFile);
const isThere = findProgram('qemu-system-x86_64') !== null && (await findSmallGuestParts()).missing === null;
const patience = { timeout: 180_000 };

interface Entry {
  log_type: string;
  output: string;
}

/** What came piece by piece, as it reads: one entry for each change of the stream. */
function joined(entries: readonly Entry[]): [string, string][] {
  const all: [string, string][] = [];
  for (const { log_type: type, output } of entries) {
    const last = all.at(-1);
    if (last?.[0] === type) last[1] += output;
    else all.push([type, output]);
  }
  return all;
}

describe.skipIf(!isThere)('simulation requests', () => {
  let server: TestServer;
  /** That the first request needed. */
  let bootSeconds = 15;
  beforeAll(async () => {
    server = await startTestServer({ env: { VMO_MAX_LOG_MIB: '1' } });
  }, 60_000);
  afterAll(() => server[Symbol.asyncDispose]());

  /** curl as a person has it who keeps the token in their own ~/.curlrc. */
  async function curl(words: string): Promise<unknown> {
    await writeFile(
      join(server.startDirectory, '.curlrc'),
      `header = "Authorization: Bearer ${server.token}"\n`,
    );
    const { stdout } = await execute('/bin/sh', ['-c', words], {
      env: { PATH: '/usr/bin:/bin', CURL_HOME: server.startDirectory, HOME: server.startDirectory },
    });
    return JSON.parse(stdout);
  }

  it('serve the session with curl that their first users know', patience, async () => {
    const submitted = await curl(`curl -sS -X POST "${server.url}/requests" \\
      -H "Content-Type: application/json" \\
      -d '{
        "vm_name": "small-guest",
        "commands": "echo Hello World && uname -a",
        "timeout": 300
      }'`);
    expect(submitted).toMatchObject({ status: 'pending', message: 'Request created successfully' });
    const { uuid } = submitted as { uuid: string };
    const request = await curl(`curl -sS "${server.url}/requests/${uuid}?wait=60"`);
    expect(request).toMatchObject({
      ...{ uuid, vm_name: 'small-guest', commands: 'echo Hello World && uname -a', timeout: 300 },
      ...{ status: 'done', exit_code: 0, channel: 'runner', log_state: 'verified' },
    });
    const { timeline } = SimulationRequest.parse(request);
    bootSeconds = (Date.parse(timeline.running_at ?? '') - Date.parse(timeline.booting_at ?? '')) / 1000;
    const { logs } = (await curl(`curl -sS "${server.url}/requests/${uuid}/logs"`)) as {
      logs: Entry[];
    };
    const typed = logs.findIndex(({ log_type: type }) => type === 'command');
    const said = logs.slice(typed);
    // Its shell writes a prompt at the console, sooner or later.
    expect(joined(said.filter(({ log_type: type }) => type !== 'boot'))).toEqual([
      ['command', '$ echo Hello World && uname -a\n'],
      ['stdout', expect.stringMatching(/^Hello World\nLinux /)],
      ['command', expect.stringMatching(/^exit 0 after /)],
      ['system', expect.stringMatching(/^exit 0 after /)],
    ]);
    expect(joined(said).slice(-2)).toEqual([
      ['boot', expect.stringContaining('Power down')],
      ['system', expect.stringMatching(/^exit 0 after /)],
    ]);
    expect(await curl(`curl -sS -X DELETE "${server.url}/requests/${uuid}"`)).toMatchObject({
      deleted: true,
    });
  });

  /** The text of one stream, as it is stored. */
  async function textOf(uuid: RequestId, stream: 'stdout' | 'command'): Promise<string> {
    const { logs } = await server.client.call('listRequestLogs', {
      params: { requestId: uuid },
      query: { log_type: stream, limit: 1000 },
    });
    return logs.map(({ output }) => output).join('');
  }

  /** What the serial console of a run has said. */
  async function bootOf(jobId: JobId): Promise<string> {
    const log = await server.client.download('getLog', { params: { jobId }, query: { stream: 'boot' } });
    return log.text();
  }

  async function submit(request: Partial<NewRequest> & Pick<NewRequest, 'commands'>): Promise<RequestId> {
    const body = { vm_name: 'small-guest', ...request };
    return (await server.client.call('submitRequest', { body })).uuid;
  }

  const get = (uuid: RequestId, wait = 0) =>
    server.client.call('getRequest', { params: { requestId: uuid }, query: { wait } });

  async function ended(uuid: RequestId): Promise<SimulationRequest> {
    for (;;) {
      const request = await get(uuid, 20);
      if (isFinal(request.status)) return request;
    }
  }

  const leftInStorage = () => readdir(join(server.dataDirectory, 'storage', 'vms'));

  it(
    'go on while the server is dead, end at their timeout, and when somebody cancels them',
    patience,
    async () => {
      // The guests boot side by side: that takes each of them longer than the first, which had this machine to itself.
      const timeout = 10 + 4 * Math.ceil(bootSeconds);
      const [killed, cancelled] = await Promise.all([
        submit({
          commands: ['echo one; sleep 4; echo two', { name: 'last', run: 'cat /etc/words; exit 7' }],
          files: [{ path: '/etc/words', content: 'put there\n' }],
          artifacts: ['/etc/words'],
          labels: { test: 'killed' },
        }),
        submit({ commands: 'echo begun; sleep 600' }),
      ]);
      const says = (uuid: RequestId, words: string) =>
        until(words, async () => (await textOf(uuid, 'stdout')).includes(words), {
          timeoutMs: 90_000,
          everyMs: 200,
        });
      await says(cancelled, 'begun');
      await says(killed, 'one');
      // More than is kept; then it only waits, since a flood without an end takes a processor until then.
      const flood = 'yes "it goes on and on" | head -c 8388608; sleep 600';
      const endless = await submit({ commands: flood, timeout });
      await server.kill();
      await server.restart();
      const params = { requestId: cancelled };
      expect(await server.client.call('deleteRequest', { params })).toMatchObject({ deleted: false });

      const adopted = await ended(killed);
      expect(adopted).toMatchObject({
        ...{ status: 'failed', exit_code: 7, channel: 'runner', labels: { test: 'killed' } },
        ...{ log_state: 'verified', files: [{ path: '/etc/words', size_bytes: 10, mode: '644' }] },
        results: [
          { status: 'done', exit_code: 0, stdout_bytes: 8 },
          { status: 'failed', exit_code: 7, name: 'last', stdout_bytes: 10 },
        ],
        artifacts: [{ path: '/etc/words', file_name: 'words', size_bytes: 10 }],
      });
      expect(await textOf(killed, 'stdout')).toBe('one\ntwo\nput there\n');
      expect(await textOf(killed, 'command')).toMatch(/^::group::echo one.*exit 7 after [\d.]+ s\n$/s);
      const artifact = await server.client.download('getArtifact', {
        params: { requestId: killed, index: 0 },
      });
      expect(await artifact.text()).toBe('put there\n');

      expect(await ended(cancelled)).toMatchObject({ status: 'cancelled', exit_code: null });
      const stopped = await ended(endless);
      expect(stopped).toMatchObject({
        status: 'timed_out',
        message: `ended after its timeout of ${timeout} s`,
        log_state: 'cut',
      });
      expect(stopped.log_bytes).toBeLessThan(3 * 1024 * 1024);
      expect(await leftInStorage()).toEqual([]);
      const processes = await execute('ps', ['-eo', 'args']);
      expect(processes.stdout).not.toContain(server.dataDirectory + '/storage');
      expect(await server.client.call('deleteRequest', { params })).toMatchObject({ deleted: true });
      await expect(get(cancelled)).rejects.toMatchObject({ code: 'REQUEST_NOT_FOUND' });
    },
  );

  it('are refused with the reason, and what would be right', async () => {
    const refused = (body: NewRequest) => server.client.call('submitRequest', { body });
    await expect(refused({ vm_name: 'smal-guest', commands: 'true' })).rejects.toMatchObject({
      code: 'VM_NOT_FOUND',
      message: 'there is no template, image or machine smal-guest; there is small-guest',
    });
    await expect(refused({ vm_name: 'small-guest', commands: 'true', timeout: 3601 })).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      issues: [{ path: 'timeout', message: 'must be at most 3600 seconds (VMO_MAX_TIMEOUT)' }],
    });
    for (const body of [
      { commands: [] },
      { commands: 'true', timeout: 0 },
      { commands: 'true', files: [{ path: 'relative', content: '' }] },
      { commands: 'true', files: [{ path: '/both', content: '', content_base64: '' }] },
      { commands: 'true', env: { 'NO-NAME': '' } },
    ]) {
      await expect(refused({ vm_name: 'small-guest', ...body })).rejects.toMatchObject({
        code: 'INVALID_INPUT',
      });
    }
  });

  it('can be held, released and cancelled while they wait, and nothing else', async () => {
    const uuid = await submit({ commands: 'true', hold: true, idempotency_key: 'once' });
    const change = (status: 'hold' | 'pending' | 'cancelled' | 'running' | 'done') =>
      server.client.call('changeRequestStatus', { params: { requestId: uuid }, body: { status } });
    expect(await get(uuid)).toMatchObject({ status: 'hold', exit_code: null, channel: null, attempt: 1 });
    await expect(change('running')).rejects.toMatchObject({
      code: 'REQUEST_WRONG_STATE',
      message: 'the request is hold and cannot become running: its state allows pending, cancelled',
    });
    const again = { vm_name: 'small-guest', commands: 'other', idempotency_key: 'once' };
    expect(await server.client.call('submitRequest', { body: again })).toMatchObject({
      uuid,
      status: 'hold',
    });
    expect(await change('cancelled')).toMatchObject({ status: 'cancelled' });
    await expect(change('hold')).rejects.toMatchObject({
      message: 'the request is cancelled and cannot become hold: it is final',
    });
    const [result] = (await get(uuid)).results;
    expect(result).toMatchObject({ command: 'true', status: 'skipped', started_at: null });
  });

  it('come as a matrix of machines and commands, or not at all', async () => {
    const matrix = {
      ...{ vm_names: ['small-guest'], commands: ['one', ['two', 'three']], labels: { of: 'matrix' } },
      ...{ hold: true, idempotency_key: 'matrix' },
    };
    const batch = await server.client.call('submitBatch', { body: matrix });
    expect(batch.requests.map(({ commands, status }) => [commands, status])).toEqual([
      [0, 'hold'],
      [1, 'hold'],
    ]);
    expect(await server.client.call('submitBatch', { body: matrix })).toEqual(batch);
    const list = (query: Partial<RequestFilter>) => server.client.call('listRequests', { query });
    expect(await list({ batch: batch.batch })).toMatchObject({
      total: 2,
      requests: [{ commands: ['two', 'three'] }, { commands: 'one' }],
    });
    expect(await list({ label: 'of=matrix', limit: 1, offset: 1 })).toMatchObject({
      total: 2,
      requests: [{ commands: 'one', batch: batch.batch }],
    });
    expect((await list({ label: 'of=other' })).total).toBe(0);
    const [first] = batch.requests;
    expect((await list({ uuid: first?.uuid.slice(-12) ?? '' })).requests).toMatchObject([
      { uuid: first?.uuid },
    ]);
    await expect(
      server.client.call('submitBatch', {
        body: { vm_names: ['small-guest', 'nobody'], commands: ['true'] },
      }),
    ).rejects.toMatchObject({ code: 'VM_NOT_FOUND' });
    expect((await list({ status: 'pending' })).total).toBe(0);
    for (const { uuid } of batch.requests) {
      await server.client.call('deleteRequest', { params: { requestId: uuid } });
    }
  });

  it('leave a disk when they fail and are asked to, which is opened as a machine', patience, async () => {
    // Builds the small guest where no test before this one did.
    const unkept = await submit({ commands: 'true', hold: true });
    // Shows at its console what a request left on its disk.
    const append = `console=ttyS0 quiet ${runAtBoot('mount -t ext4 /dev/vda /mnt && cat /mnt/left; mount')}`;
    const kernel = 'small-guest.kernel';
    const { vm: base } = await server.client.call('createVm', {
      body: {
        ...{ name: 'with-disk', memoryMib: 256, diskSizeBytes: 16 * 1024 * 1024, start: false },
        boot: { from: 'kernel', kernel, initrd: 'small-guest.initrd', append },
      },
    });
    const left = 'mke2fs -q /dev/vda && mount -t ext4 /dev/vda /mnt && echo left-$((40 + 2)) >/mnt/left';
    const uuid = await submit({
      ...{ vm_name: 'with-disk', commands: `${left}; umount /mnt; exit 3`, keep_on_failure: true },
    });
    const params = { requestId: uuid };
    const open = (requestId = uuid) => server.client.call('openRequest', { params: { requestId } });
    await expect(open()).rejects.toMatchObject({
      code: 'REQUEST_WRONG_STATE',
      message: 'the request cannot be opened: it has not ended',
    });
    await server.client.call('deleteRequest', { params: { requestId: unkept } });
    await expect(open(unkept)).rejects.toMatchObject({
      message: 'there is nothing to open: its disk was not kept: that is done with keep_on_failure',
    });

    const failed = await ended(uuid);
    expect(failed).toMatchObject({ status: 'failed', exit_code: 3, cannot_open: null, opened_vm: null });
    const [first, second] = await Promise.all([open(), open()]);
    expect(second.vm.id).toBe(first.vm.id);
    expect(first.vm).toMatchObject({ name: `request-${uuid.slice(-12)}`, memoryMib: 256 });
    const vmId = first.vm.id;
    const vm = async () => (await server.client.call('getVm', { params: { vmId } })).vm;
    await until(
      'its console shows what was left',
      async () => {
        const { jobId } = await vm();
        return jobId !== null && /left-42[^]*\/dev\/vda on \/mnt/.test(await bootOf(jobId));
      },
      { timeoutMs: 90_000, everyMs: 200 },
    );
    const kept = await get(uuid);
    expect(kept).toMatchObject({ opened_vm: vmId, cannot_open: null });
    expect(Date.parse(kept.kept_until ?? '')).toBeGreaterThan(Date.now());
    // The disk that was kept is still as it was left.
    expect((await leftInStorage()).sort()).toEqual([base.id, uuid, vmId].sort());

    await server.client.call('actOnVm', { params: { vmId }, body: { action: 'force-stop' } });
    await until('it stopped', async () => (await vm()).status === 'stopped');
    await server.client.call('deleteVm', { params: { vmId }, query: { disks: 'true' } });
    await until('it is deleted', async () => (await get(uuid)).opened_vm === null);
    await until('its folder is gone', async () => !(await leftInStorage()).includes(vmId));
    // It can be opened again until its time is over; what it lies on must be what it was.
    await utimes(join(server.dataDirectory, 'storage', 'vms', base.id, 'root.qcow2'), new Date(), new Date());
    await expect(open()).rejects.toMatchObject({
      code: 'VM_WRONG_STATE',
      message:
        'the kept disk only says what changed on the disk of a machine, and that one was written to since',
    });
    await server.client.call('deleteRequest', { params });
    await server.client.call('deleteVm', { params: { vmId: base.id }, query: { disks: 'true' } });
    await until('nothing is left', async () => (await leftInStorage()).length === 0);
    await expect(open()).rejects.toMatchObject({ code: 'REQUEST_NOT_FOUND' });
  });

  it('give away what an image of yours needs for them', async () => {
    const script = await (await server.client.download('getRunner')).text();
    expect(script).toMatch(/^#!\/bin\/sh\n# vmo-runner: /);
    const checked = execute('sh', ['-n']);
    checked.child.stdin?.end(script);
    expect(await checked).toMatchObject({ stderr: '' });
  });

  it('leave the page to browsers', async () => {
    const ask = (accept: string) =>
      fetch(`${server.url}/requests`, { headers: { accept, authorization: `Bearer ${server.token}` } });
    expect((await ask('*/*')).headers.get('content-type')).toContain('application/json');
    expect((await ask('text/html,*/*;q=0.8')).headers.get('content-type')).toContain('text/html');
    expect((await fetch(`${server.url}/requests`)).status).toBe(401);
  });

  it('are taken by an agent of the server that says what it starts machines with', async () => {
    const accelerators = await until(
      'its accelerators',
      async () => {
        const { agents } = await server.client.call('listAgents');
        const own = agents.find(({ kind }) => kind === 'local')?.capacity?.accelerators ?? [];
        return own.length > 0 && own;
      },
      { timeoutMs: 30_000 },
    );
    const { host } = await server.client.call('getVmHost');
    expect(accelerators[0]).toBe(host.accelerator);
    expect(accelerators).toContain('tcg');
  });
});
