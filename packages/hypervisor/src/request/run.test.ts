import { execFile } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { readdir, readFile, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { MachineSpec, RunPlan, type ArtifactPiece, type RunProgress } from '@vmo/contract';
import {
  createLocalStreamStrategy,
  createProcessTable,
  type Run,
  type RunEnd,
  type RunSpec,
} from '@vmo/execution';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { checkImage, mib, openWorkshop, type Workshop } from '../qemu/testing.ts';
import { createVmRunStrategy } from '../run-strategy.ts';

/* Real guests, without KVM, beside the other tests. */
const patience = { timeout: 120_000 };

let workshop: Workshop;
let boot: Pick<MachineSpec, 'boot'>;
beforeAll(async () => {
  workshop = await openWorkshop();
  boot = await workshop.guest();
});
afterAll(() => workshop[Symbol.asyncDispose]());

const local = createLocalStreamStrategy({ table: createProcessTable(), cgroups: null });
/** crypt(3) of the password `it is mine`; MD5, since a guest without KVM takes long for better ones. */
const hashOfPassword = '$1$vmoguest$UDvMQGdyQWr29z0oequ47/';
const newStrategy = () => createVmRunStrategy({ driver: workshop.newDriver(), local });
const request = {
  ...{ login: null, seed: null, warm: false },
  ...{ overlays: [], images: null, readySeconds: 60, channel: null },
  ...{ keepOnFailure: false, maxArtifactBytes: 1024 * 1024 },
};

interface Asked {
  spec: RunSpec;
  run: Run;
  end: Promise<RunEnd>;
  progress: RunProgress[];
  artifacts: Map<number, Buffer>;
  notices: string[];
  read(name: string): Promise<Buffer>;
}

function prepare(plan: Partial<RunPlan>, change: Partial<MachineSpec> = {}) {
  const machine = workshop.spec({ ...boot, request, ...change });
  const whole = RunPlan.parse({
    ...{ commands: [], stopOnFailure: true, env: {}, files: [], artifacts: [] },
    ...plan,
  });
  const progress: RunProgress[] = [];
  const artifacts = new Map<number, Buffer>();
  const notices: string[] = [];
  const spec: RunSpec = {
    ...workshop.runSpec(machine),
    notice: (line) => notices.push(line),
    request: {
      plan: async () => whole,
      progress: async (told) => {
        progress.push(told);
      },
      artifact: async ({ index, offset, bytes }: ArtifactPiece) => {
        const known = artifacts.get(index) ?? Buffer.alloc(0);
        artifacts.set(index, Buffer.concat([known.subarray(0, offset), bytes]));
      },
    },
  };
  return { spec, progress, artifacts, notices, read: (name: string) => readFile(join(spec.directory, name)) };
}

async function ask(plan: Partial<RunPlan>, change: Partial<MachineSpec> = {}): Promise<Asked> {
  const prepared = prepare(plan, change);
  const run = await newStrategy().start(prepared.spec);
  return { ...prepared, run, end: run.ended };
}

const execute = promisify(execFile);
const idOf = ({ spec }: Pick<Asked, 'spec'>): string => MachineSpec.parse(spec.vm).id;

async function tarNames(archive: Buffer): Promise<string[]> {
  const tar = execute('tar', ['-tf', '-']);
  tar.child.stdin?.end(archive);
  return (await tar).stdout.trim().split('\n').sort();
}

/** As `expect.stringMatching`, with a type. */
const words = (like: RegExp): unknown => expect.stringMatching(like);
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
const leftInStorage = () => readdir(join(workshop.storage.root, 'vms'));

describe('a simulation request', () => {
  // Much is written, by a guest that is emulated.
  it('keeps what each command wrote, to the byte, and how it ended', { timeout: 240_000 }, async () => {
    const asked = await ask({
      commands: [
        { run: 'echo out; echo err >/dev/stderr; printf "\\000\\377"; exit 3' },
        { run: 'seq 1 200000 | tee /dev/stderr | sha256sum; exit 0' },
        { run: 'kill -KILL $$' },
        { run: 'echo "$WORDS"; cat /etc/given; sleep 30 & echo $(( 6 * 7 ))' },
        // The runner keeps its own few bytes there.
        { run: 'cat /dev/zero >/run/full 2>/dev/null' },
        { run: 'df /run | grep -c 100%; rm /run/full' },
        { run: 'dd if=/dev/urandom bs=64k count=320 2>/dev/null | tee /tmp/all; sha256sum </tmp/all >&2' },
      ],
      stopOnFailure: false,
      env: { WORDS: `it's "quoted"\n$HOME \\ \`x\` two` },
      files: [{ path: '/etc/given', mode: '600', base64: Buffer.from("it's given\n").toString('base64') }],
    });
    expect(await asked.end).toMatchObject({ kind: 'exited', exitCode: 3, signal: null });
    const all = await asked.read('stdout');
    const stdout = all.subarray(0, -20 * mib);
    const large = all.subarray(-20 * mib);
    const stderr = await asked.read('stderr');
    const numbers = Buffer.from(Array.from({ length: 200_000 }, (_, index) => `${index + 1}\n`).join(''));
    const sum = Buffer.from(`${sha256(large)}  -\n`);
    expect(stderr.equals(Buffer.concat([Buffer.from('err\n'), numbers, sum]))).toBe(true);
    const words = `it's "quoted"\n$HOME \\ \`x\` two\nit's given\n42\n1\n`;
    const expected = [
      Buffer.from('out\n\0'),
      Buffer.from([0xff]),
      Buffer.from(`${sha256(numbers)}  -\n${words}`),
    ];
    expect(stdout.toString('latin1')).toBe(Buffer.concat(expected).toString('latin1'));
    const last = asked.progress.at(-1);
    expect(last).toMatchObject({ channel: 'runner', kept: false });
    expect(last?.commands).toMatchObject([
      { status: 'failed', exitCode: 3, stdoutBytes: 6, stderrBytes: 4 },
      { status: 'done', exitCode: 0, stderrBytes: numbers.length },
      { status: 'failed', exitCode: 137, stdoutBytes: 0 },
      { status: 'done', exitCode: 0, stdoutBytes: 44 },
      { status: 'failed', exitCode: 1, stdoutBytes: 0 },
      { status: 'done', exitCode: 0, stdoutBytes: 2 },
      { status: 'done', exitCode: 0, stdoutBytes: 20 * mib, stderrBytes: sum.length },
    ]);
    expect(await leftInStorage()).toEqual([]);
  });

  it('stops at the first failure, and gives what was made until then', patience, async () => {
    const asked = await ask({
      commands: [
        { run: 'mkdir -p /out/deep; echo one >/out/one; echo two >/out/deep/two; : >/empty', name: 'make' },
        { run: 'head -c 2000000 /dev/zero >/large; kill -TERM $$' },
        { run: 'echo never' },
      ],
      artifacts: ['/out/one', '/out', '/nowhere', '/empty', '/dev/null', '/large', '/out/one'],
    });
    expect(await asked.end).toMatchObject({ kind: 'exited', exitCode: 143, signal: 'SIGTERM' });
    expect((await asked.read('stdout')).toString()).toBe('');
    const last = asked.progress.at(-1);
    expect(last?.commands.map(({ status }) => status)).toEqual(['done', 'failed', 'skipped']);
    const folder = last?.artifacts[1]?.sizeBytes ?? 0;
    expect(last?.artifacts).toEqual([
      { index: 0, sizeBytes: 4, isFolder: false, reason: null },
      { index: 1, sizeBytes: folder, isFolder: true, reason: null },
      { index: 2, sizeBytes: null, isFolder: false, reason: 'it is not there' },
      { index: 3, sizeBytes: 0, isFolder: false, reason: null },
      { index: 4, sizeBytes: null, isFolder: false, reason: 'it is neither a file nor a folder' },
      { index: 5, sizeBytes: null, isFolder: false, reason: 'all artifacts together may have 1 MiB' },
      { index: 6, sizeBytes: null, isFolder: false, reason: 'those before it are as large as all may be' },
    ]);
    expect(asked.artifacts.get(0)?.toString()).toBe('one\n');
    const archive = asked.artifacts.get(1) ?? Buffer.alloc(0);
    expect(archive).toHaveLength(folder);
    expect(await tarNames(archive)).toEqual(['./', './deep/', './deep/two', './one']);
    expect((await asked.read('command')).toString()).toMatch(
      /^::group::make\n\$ mkdir .*\n::endgroup::\nexit 0 after [\d.]+ s\n::group::head .*\n\$ head .*\n::endgroup::\nexit 143 after [\d.]+ s\n$/,
    );
  });

  it(
    'says what became of a guest that boots again, that panics, also without a word, and that is never ready',
    patience,
    async () => {
      const kernel = boot.boot.from === 'kernel' ? boot.boot : null;
      if (!kernel) throw new Error('the small guest has a kernel');
      const [again, panicked, mute, silent] = await Promise.all([
        ask({ commands: [{ run: 'echo before; reboot -f; sleep 60' }] }),
        ask({ commands: [{ run: 'true' }, { run: 'echo c >/proc/sysrq-trigger' }] }),
        ask({
          commands: [
            { run: 'modprobe pvpanic_pci && echo N >/sys/class/tty/ttyS0/console' },
            { run: 'echo c >/proc/sysrq-trigger' },
          ],
        }),
        ask(
          { commands: [{ run: 'true' }] },
          {
            boot: { ...kernel, append: `${kernel.append} rdinit=/bin/sh` },
            request: { ...request, readySeconds: 12 },
          },
        ),
      ]);
      expect(await again.end).toMatchObject({
        kind: 'failed',
        reason: 'the guest booted again while command 1 of 1 ran',
      });
      expect((await again.read('stdout')).toString()).toBe('before\n');
      expect(await panicked.end).toMatchObject({
        kind: 'failed',
        reason: words(/^the guest's kernel panicked while command 2 of 2 ran: Kernel panic - not syncing: /),
      });
      expect(await mute.end).toMatchObject({
        kind: 'failed',
        reason: words(/^the guest's kernel panicked while command 2 of 2 ran: /),
      });
      expect((await mute.read('boot')).toString()).not.toContain('Kernel panic');
      expect(panicked.progress.at(-1)?.commands.map(({ status }) => status)).toEqual(['done', 'failed']);
      expect(await silent.end).toMatchObject({
        kind: 'failed',
        reason: words(/^the guest was not ready within 12 s \(VMO_BOOT_TIMEOUT\), as no runner answered; /),
      });
      expect(await leftInStorage()).toEqual([]);
    },
  );

  it('leaves nothing behind when it is cancelled', patience, async () => {
    const asked = await ask({ commands: [{ run: 'echo here; sleep 600' }] });
    await vi.waitFor(async () => expect((await asked.read('stdout')).toString()).toBe('here\n'), {
      timeout: 60_000,
    });
    const identity = await readFile(join(workshop.storage.vmDirectory(idOf(asked)), 'qemu.pid'), 'utf8');
    const pid = Number(/^pid=(\d+)$/m.exec(identity)?.[1]);
    process.kill(pid, 0);
    expect(await asked.run.cancel(5_000)).toEqual(['QEMU quit']);
    expect(await asked.end).toMatchObject({
      kind: 'failed',
      reason: words(/^the machine ended while command 1 of 1 ran: .*vmo-guest ready/),
    });
    expect(() => process.kill(pid, 0)).toThrow('ESRCH');
    expect(await leftInStorage()).toEqual([]);
  });

  it('goes on without us, whether or not it has its commands, and is found again', patience, async () => {
    const unheard = prepare({ commands: [{ run: 'echo late; exit 4' }] });
    (await newStrategy().start(unheard.spec)).detach();
    const asked = await ask({ commands: [{ run: 'echo here; sleep 2; echo there >&2; exit 5' }] });
    await vi.waitFor(async () => expect((await asked.read('stdout')).toString()).toBe('here\n'), {
      timeout: 60_000,
    });
    asked.run.detach();
    const [found, other] = await Promise.all([
      newStrategy().adopt(asked.spec),
      newStrategy().adopt(unheard.spec),
    ]);
    expect(await found?.ended).toMatchObject({ kind: 'exited', exitCode: 5 });
    expect((await asked.read('stderr')).toString()).toBe('there\n');
    expect(asked.progress.at(-1)?.commands).toMatchObject([{ status: 'failed', exitCode: 5 }]);
    expect(await other?.ended).toMatchObject({ kind: 'exited', exitCode: 4 });
    expect((await unheard.read('stdout')).toString()).toBe('late\n');
    expect(await leftInStorage()).toEqual([]);
  });

  it(
    'writes to disks of its own on what is only read, and keeps them for a time where asked',
    patience,
    async () => {
      const base = workshop.storage.imagePath('base.qcow2');
      await execute('qemu-img', ['create', '-q', '-f', 'qcow2', base, '16M']);
      const before = await readFile(base);
      const make = 'mke2fs /dev/vda >/dev/null && mount -t ext4 /dev/vda /mnt && echo kept >/mnt/file';
      const run = `${make}; cat /dev/zero >/mnt/full; exit 1`;
      const start = (keepOnFailure: boolean) => {
        const id = MachineSpec.shape.id.parse(randomUUID());
        const file = `vms/${id}/root.qcow2`;
        const below = [{ file: 'images/base.qcow2', format: 'qcow2' as const }];
        return ask(
          { commands: [{ run }] },
          {
            id,
            disks: [
              MachineSpec.shape.disks.element.parse({
                id: randomUUID(),
                file,
                format: 'qcow2',
                readOnly: false,
              }),
            ],
            request: { ...request, keepOnFailure, overlays: [{ file, below, sizeBytes: 16 * mib }] },
          },
        );
      };
      const [kept, gone] = await Promise.all([start(true), start(false)]);
      expect(await kept.end).toMatchObject({ kind: 'exited', exitCode: 1 });
      expect(await gone.end).toMatchObject({ kind: 'exited', exitCode: 1 });
      expect((await kept.read('stderr')).toString()).toContain('No space left on device');
      expect((await readFile(base)).equals(before)).toBe(true);
      const folder = workshop.storage.vmDirectory(idOf(kept));
      expect(kept.progress.at(-1)).toMatchObject({ kept: true, keptIn: folder });
      expect(gone.progress.at(-1)).toMatchObject({ kept: false, keptIn: null });
      expect(await leftInStorage()).toEqual([idOf(kept)]);
      expect(await readdir(folder)).toEqual(['root.qcow2']);
      await checkImage(join(folder, 'root.qcow2'));
      await workshop.driver.discard(idOf(kept), false);
      expect(await leftInStorage()).toEqual([]);
    },
  );

  it(
    'goes on from where one like it was ready, with what must not be the same renewed',
    patience,
    async () => {
      const base = workshop.storage.imagePath('warm.qcow2');
      await execute('qemu-img', ['create', '-q', '-f', 'qcow2', base, '16M']);
      const below = [{ file: 'images/warm.qcow2', format: 'qcow2' as const }];
      const start = () => {
        const id = MachineSpec.shape.id.parse(randomUUID());
        const file = `vms/${id}/root.qcow2`;
        const run = [
          'cat /sys/class/net/eth0/address; head -c 16 /dev/urandom | sha256sum; date +%s',
          'dd if=/dev/vda bs=16 count=1 2>/dev/null | tr -d "\\000"; echo "mine $$" >/dev/vda; echo fine',
        ];
        return ask(
          { commands: run.map((one) => ({ run: one })) },
          {
            id,
            network: { mode: 'user', restrict: true, forward: [] },
            disks: [
              MachineSpec.shape.disks.element.parse({
                ...{ id: randomUUID(), file, format: 'qcow2', readOnly: false },
              }),
            ],
            request: { ...request, warm: true, overlays: [{ file, below, sizeBytes: 16 * mib }] },
          },
        );
      };
      /** Milliseconds from the start of the machine to that of its first command. */
      const toFirst = ({ run, progress }: Asked) =>
        Date.parse(progress.at(-1)?.commands[0]?.startedAt ?? '') - run.startedAt.getTime();
      const cold = await start();
      expect(await cold.end).toMatchObject({ kind: 'exited', exitCode: 0 });
      expect(cold.notices).toContainEqual(expect.stringMatching(/^kept for warm starts, in /));
      const warm = await Promise.all([start(), start()]);
      const told = [];
      for (const asked of warm) {
        expect(await asked.end).toMatchObject({ kind: 'exited', exitCode: 0 });
        const [mac, random, seconds, disk] = (await asked.read('stdout')).toString().split('\n');
        told.push({ mac, random, disk });
        expect(Math.abs(Number(seconds) - Date.now() / 1000)).toBeLessThan(30);
        expect(mac).toBe(workshop.driver.macOf(idOf(asked)));
        expect(await asked.read('boot')).not.toContain('vmo-guest ready');
        expect(toFirst(asked)).toBeLessThan(toFirst(cold));
        const { readyAt } = asked.progress.at(-1) ?? {};
        expect(Date.parse(readyAt ?? '')).toBeGreaterThanOrEqual(asked.run.startedAt.getTime());
      }
      expect(told[0]?.random).not.toBe(told[1]?.random);
      expect(told.map(({ disk }) => disk)).toEqual(['fine', 'fine']);
      expect((await leftInStorage()).filter((name) => !name.startsWith('warm-'))).toEqual([]);

      // What is kept of other hardware, or is damaged, is not gone on from.
      const [kept = ''] = (await leftInStorage()).filter((name) => name.startsWith('warm-'));
      await truncate(join(workshop.storage.root, 'vms', kept, 'memory'), 100_000);
      expect(await (await start()).end).toMatchObject({ kind: 'failed', reason: words(/^QEMU ended with/) });
      expect(await leftInStorage()).toEqual([]);
    },
  );

  it(
    'starts the runner itself where the guest does not, or where a channel was asked for: by the guest agent, over SSH, or at the console',
    patience,
    async () => {
      const id = MachineSpec.shape.id.parse(randomUUID());
      const seed = `vms/${id}/seed.raw`;
      const slow = { ...request, readySeconds: 110 };
      const overSsh: Partial<MachineSpec> = {
        id,
        ...(await workshop.guest({ ssh: true })),
        disks: [
          MachineSpec.shape.disks.element.parse({
            ...{ id: randomUUID(), file: seed, format: 'raw', readOnly: true },
          }),
        ],
        network: { mode: 'user', restrict: true, forward: [22] },
        request: { ...slow, channel: 'ssh', login: { user: 'root', password: null }, seed },
      };
      const atLogin: Partial<MachineSpec> = {
        ...(await workshop.guest({ append: `vmo.login=${hashOfPassword}` })),
        request: { ...slow, channel: 'serial', login: { user: 'root', password: 'it is mine' } },
      };
      const commands = (words: string, code: number) => ({
        commands: [{ run: `echo ${words}; echo ${words} failed >&2; exit ${code}` }],
      });
      const channels = await Promise.all([
        ask(commands('by the agent', 6), await workshop.guest({ agent: true, append: 'vmo.no_runner' })),
        ask(commands('over SSH', 7), overSsh),
        ask(commands('typed', 8), await workshop.guest({ append: 'vmo.no_runner' })),
        ask(commands('logged in', 9), atLogin),
      ]);
      const ends = [];
      for (const asked of channels) {
        ends.push({
          end: await asked.end,
          stdout: (await asked.read('stdout')).toString(),
          stderr: (await asked.read('stderr')).toString(),
          channel: asked.progress.at(-1)?.channel,
        });
      }
      const expected = (channel: string, words: string, exitCode: number) => ({
        end: { kind: 'exited', exitCode },
        ...{ channel, stdout: `${words}\n`, stderr: `${words} failed\n` },
      });
      expect(ends).toMatchObject([
        expected('guest-agent', 'by the agent', 6),
        expected('ssh', 'over SSH', 7),
        expected('serial', 'typed', 8),
        expected('serial', 'logged in', 9),
      ]);
      const console = (await channels[3].read('boot')).toString();
      expect(console).toContain('guest login: root');
      expect(console).not.toContain('it is mine');
      expect(await leftInStorage()).toEqual([]);
    },
  );
});
