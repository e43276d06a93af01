import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { refusal, startHostPlace, type HostPlace } from '../hosts/host.test.support.ts';
import type { Host, WorkspaceId } from '@vmo/contract';
import type { FaultProxy } from '@vmo/testkit';

let place: HostPlace;
let host: Host;
let proxy: FaultProxy;
let workspaceId: WorkspaceId;
let directory: string;
beforeAll(async () => {
  place = await startHostPlace();
  ({ host, proxy } = await place.trustedHost('build machine'));
  directory = join(place.home, "it's a place");
  await mkdir(directory);
  const body = { name: 'there', directory, hostId: host.id };
  workspaceId = (await place.server.client.call('addWorkspace', { body })).workspace.id;
}, 60_000);
afterAll(() => place[Symbol.asyncDispose]());

/** Bytes that no text survives, on both streams, and an exit code. */
const command = String.raw`printf 'out \000\377\n'; printf 'err \303' >&2; pwd; exit 7`;

describe('a job on a host', () => {
  it.each([
    ['the name of the host', () => ({ host: host.name }), () => place.home],
    ['the name in other letters', () => ({ host: host.name.toUpperCase() }), () => place.home],
    ['the id of the host', () => ({ host: host.id }), () => place.home],
    ['a workspace on it', () => ({ workspaceId }), () => directory],
  ])('is found by %s, and keeps every byte and the exit code', async (_by, where, cwd) => {
    const job = await place.when(await place.submit({ command, type: 'ssh', ...where() }));
    expect(job).toMatchObject({ type: 'ssh', status: 'failed', exitCode: 7, signal: null, hostId: host.id });
    const out = Buffer.concat([
      Buffer.from([...Buffer.from('out '), 0, 0xff, 0x0a]),
      Buffer.from(`${cwd()}\n`),
    ]);
    expect(await place.bytes(job, 'stdout')).toEqual(out);
    expect(await place.bytes(job, 'stderr')).toEqual(Buffer.from([...Buffer.from('err '), 0xc3]));
  });

  it('is refused on a host that is not in the inventory, and as another type', async () => {
    const absent = place.submit({ command: 'true', type: 'ssh', host: 'nobody' });
    expect(await refusal(absent)).toMatchObject({ code: 'HOST_NOT_FOUND' });
    const terminal = place.submit({ command: 'true', type: 'terminal', host: host.name });
    expect(await refusal(terminal)).toMatchObject({ code: 'INVALID_INPUT' });
    const nowhere = place.submit({ command: 'true', type: 'ssh' });
    expect(await refusal(nowhere)).toMatchObject({ code: 'INVALID_INPUT' });
  });

  it('loses nothing when the server is killed in the middle of it', async () => {
    const flag = join(place.home, 'go on');
    const lines = (from: number, to: number) => `seq -f 'line %.0f of a long log' ${from} ${to}`;
    const long = `${lines(1, 40_000)}; until [ -e '${flag}' ]; do sleep 0.05; done; ${lines(40_001, 80_000)}; exit 5`;
    const job = await place.submit({ command: long, host: host.name });
    await place.when(job, ({ logBytes }) => logBytes > 0);
    await place.server.kill();
    await writeFile(flag, '');
    await place.server.restart();
    expect(await place.when(job)).toMatchObject({ status: 'failed', exitCode: 5, signal: null });
    const expected = Array.from({ length: 80_000 }, (_, index) => `line ${index + 1} of a long log\n`).join(
      '',
    );
    const digest = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
    expect(digest(await place.bytes(job, 'stdout'))).toBe(digest(Buffer.from(expected)));
    expect(await place.bytes(job, 'stderr')).toHaveLength(0);
  }, 90_000);

  it('that ends while the server is away has its log and its exit code afterwards', async () => {
    const flag = join(place.home, 'ended');
    const job = await place.submit({
      command: `sleep 0.3; echo bye; touch '${flag}'; exit 3`,
      host: host.name,
    });
    await place.when(job, ({ status }) => status === 'running');
    expect(await place.server.stop()).toBe(0);
    await place.server.restart();
    expect(await place.when(job)).toMatchObject({ status: 'failed', exitCode: 3 });
    expect((await place.bytes(job, 'stdout')).toString()).toBe('bye\n');
  }, 60_000);

  it('goes on over a link that breaks', async () => {
    const flag = join(place.home, 'mended');
    const job = await place.submit({
      command: `echo before; until [ -e '${flag}' ]; do sleep 0.05; done; echo after`,
      host: host.name,
    });
    await place.when(job, ({ logBytes }) => logBytes > 0);
    proxy.cut();
    await writeFile(flag, '');
    expect(await place.when(job)).toMatchObject({ status: 'done', exitCode: 0 });
    expect((await place.bytes(job, 'stdout')).toString()).toBe('before\nafter\n');
  }, 60_000);

  it('is cancelled with everything it started there, and says what died', async () => {
    const job = await place.submit({
      command: 'trap "" TERM; sleep 611 & echo up; wait; sleep 612',
      host: host.id,
    });
    await place.when(job, ({ logBytes }) => logBytes > 0);
    await place.server.client.call('cancelJob', { body: { jobId: job.id } });
    expect(await place.when(job)).toMatchObject({ status: 'cancelled', cancelRequested: true });
    const words = (await place.bytes(job, 'system')).toString();
    expect(words).toMatch(/cancel requested by/);
    expect(words).toMatch(/SIGTERM/);
    expect(words).toMatch(/SIGKILL.*sh/);
    const check = await place.submit({ command: 'ps -A -o args= | grep "^sleep 61[12]"', host: host.id });
    expect(await place.when(check)).toMatchObject({ exitCode: 1 });
  }, 60_000);
});
