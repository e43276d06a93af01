import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { JobId, MachineRequest, VmId, type MachineSpec } from '@vmo/contract';
import type { LogPlace, Run, Strategy } from '@vmo/execution';
import { expect, it } from 'vitest';
import { newId } from '../kernel/ids.ts';
import { owner, startCockpit } from './harness.test.support.ts';

/** A request that has ended before anybody could read a byte of it. */
function ended(files: Record<string, string>, places: readonly LogPlace[]): Strategy {
  const startedAt = new Date();
  const run: Run = {
    startedAt,
    ended: Promise.resolve({
      ...{ kind: 'exited', exitCode: 0, signal: null, startedAt, finishedAt: startedAt, leftovers: [] },
    }),
    cancel: () => Promise.resolve([]),
    suspend: () => Promise.resolve(false),
    resume: () => Promise.resolve(),
    places: () => places,
    detach: () => undefined,
  };
  return {
    type: 'vm',
    start({ directory }) {
      mkdirSync(directory, { recursive: true });
      for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text);
      return Promise.resolve(run);
    },
    adopt: () => Promise.resolve(run),
  };
}

/** The log of such a request, with the bytes of each stream that stand together. */
async function logOf(files: Record<string, string>, places: readonly LogPlace[]) {
  await using cockpit = await startCockpit({ strategies: [ended(files, places)] });
  const spec = {
    ...{ id: VmId.parse('01970000-0000-7000-8000-0000000000aa'), name: 'ended', arguments: [] },
    ...{ cpus: 1, maxCpus: 1, memoryMib: 64, maxMemoryMib: 64, disks: [] },
    ...{ boot: { from: 'disk' }, network: { mode: 'none' }, display: 'none' },
    request: MachineRequest.parse({
      ...{ overlays: [], readySeconds: 60, channel: null, keepOnFailure: false, maxArtifactBytes: 0 },
    }),
  } satisfies MachineSpec;
  const id = JobId.parse(newId());
  const run = { id, vmId: spec.id, spec, command: 'a machine' };
  await cockpit.jobs.submitMachines(owner, [[run]], () => Promise.resolve());
  expect(await cockpit.when(id)).toMatchObject({ status: 'done', logState: 'verified' });
  expect(cockpit.bugs).toEqual([]);
  const all: string[] = [];
  for (const { stream, chunk } of await cockpit.events(id)) {
    if (stream === 'system') continue;
    const last = all.at(-1);
    if (last?.startsWith(`${stream}: `)) all[all.length - 1] = last + chunk;
    else all.push(`${stream}: ${chunk}`);
  }
  return all;
}

const output = { stdout: 'one\n', stderr: '', command: '$ echo one\nexit 0\n' };
/** Of the command before its output, and of its exit code behind it. */
const placesOf = (begin: { boot: number }, end: { stdout: number; boot: number }): LogPlace[] => [
  { command: 11, stdout: 0, stderr: 0, ...begin },
  { command: 18, stderr: 0, ...end },
];

it('words stand at their place between the bytes of output and console, however late they are read', async () => {
  const files = { ...output, boot: 'booted\nPower down\n' };
  expect(await logOf(files, placesOf({ boot: 7 }, { stdout: 4, boot: 7 }))).toEqual([
    'boot: booted\n',
    'command: $ echo one\n',
    'stdout: one\n',
    'command: exit 0\n',
    'boot: Power down\n',
  ]);
});

it('a place within a character of the console, and one behind the end of the output, keep nothing back', async () => {
  const files = { ...output, boot: 'boot é\n' };
  expect(await logOf(files, placesOf({ boot: 6 }, { stdout: 400, boot: 8 }))).toEqual([
    'boot: boot ',
    'command: $ echo one\n',
    'boot: é\n',
    'stdout: one\n',
    'command: exit 0\n',
  ]);
});
