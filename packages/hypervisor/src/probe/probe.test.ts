import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { temporaryDirectory } from '../images/testing.ts';
import { findProgram } from '../program.ts';
import { bootSector } from './boot-sector.ts';
import { probeHost } from './probe.ts';
import { tryAccelerator } from './trial.ts';

const patience = { timeout: 180_000 };
const real = 'qemu-system-x86_64';

/**
 * The real QEMU in a wrapper that does something else when it is asked for KVM: so every kind of host can be had on any.
 * `$@` begins with the machine.
 */
async function host(whenKvm: string) {
  const folder = await temporaryDirectory();
  const qemuBinary = join(folder.path, 'qemu');
  const script = `#!/bin/sh
echo "$*" >> '${folder.path}/calls'
case "$*" in *accel=kvm*) ${whenKvm} ;; esac
exec ${real} "$@"
`;
  await writeFile(qemuBinary, script, { mode: 0o755 });
  return {
    folder: folder.path,
    calls: async () => (await readFile(join(folder.path, 'calls'), 'utf8')).trim().split('\n').length,
    // Opens, as /dev/kvm does.
    options: { qemuBinary, cacheDirectory: join(folder.path, 'cache'), kvmDevice: '/dev/null' },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

const asIfKvm = `shift 2; exec ${real} -machine q35,accel=tcg "$@"`;

describe('this host', () => {
  it('boots a guest without KVM, and says of KVM what is the case', patience, async ({ annotate }) => {
    await using folder = await temporaryDirectory();
    const found = await probeHost({ cacheDirectory: folder.path, storage: join(folder.path, 'storage') });
    await annotate(JSON.stringify(found));
    expect(found.qemu?.version).toMatch(/^\d+\.\d+/);
    expect(found.qemuImg?.version).toMatch(/^\d+\.\d+/);
    expect(found.bootMilliseconds.tcg).toBeGreaterThan(0);
    expect(found.accelerator).toBe(found.kvm === 'works' ? 'kvm' : 'tcg');
    expect(found.features).toEqual({
      ...{ sandbox: true, microvm: true, virtioMem: true, userNetworking: true, vnc: true },
    });
    expect(found.storage).toMatchObject({ problem: null });
    expect(found.host.cpuCount).toBeGreaterThan(0);
  });

  it('has a boot sector that the firmware takes', () => {
    expect(bootSector()).toHaveLength(512);
    expect(bootSector().subarray(510).toString('hex')).toBe('55aa');
  });
});

describe('KVM', () => {
  it('works where a guest boots with it', patience, async () => {
    await using one = await host(asIfKvm);
    const found = await probeHost(one.options);
    expect(found).toMatchObject({ kvm: 'works', accelerator: 'kvm', words: ['KVM works'] });
  });

  it('is not believed where it opens and guests hang: within the deadline', patience, async () => {
    await using one = await host(`echo $$ > "$0.pid"; exec sleep 1000`);
    const deadlineMs = 500;
    const found = await probeHost({ ...one.options, deadlineMs });
    expect(found).toMatchObject({
      kvm: 'present-but-guests-do-not-boot',
      accelerator: 'tcg',
      words: [
        'KVM present but guests do not boot (it started and never ran)',
        'TCG (slow, not an isolation boundary)',
      ],
      bootMilliseconds: { kvm: null },
    });
    const pid = (await readFile(`${one.options.qemuBinary}.pid`, 'utf8')).trim();
    const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => 'State: gone');
    expect(status).toMatch(/State:\s*(gone|Z)/);
  });

  it('is not believed where QEMU fails with it, and QEMU is cited', patience, async () => {
    await using one = await host(`echo 'failed to set MSR' >&2; exit 134`);
    const found = await probeHost(one.options);
    expect(found.kvm).toBe('present-but-guests-do-not-boot');
    expect(found.words[0]).toContain('failed to set MSR');
  });

  it('is not believed where a guest crawls', patience, async () => {
    await using one = await host(`sleep 4; ${asIfKvm}`);
    const found = await probeHost(one.options);
    expect(found.kvm).toBe('present-but-guests-do-not-boot');
    expect(found.words[0]).toMatch(/a guest of one sector took \d+ ms, and \d+ ms without KVM/);
  });

  it('is absent where there is no such device', patience, async () => {
    await using one = await host('exit 1');
    for (const kvmDevice of [join(one.folder, 'none'), one.options.qemuBinary]) {
      const found = await probeHost({ ...one.options, kvmDevice, again: true });
      expect(found).toMatchObject({ kvm: 'absent', accelerator: 'tcg' });
    }
  });

  it('says which group to join where the device may not be opened', patience, async () => {
    await using one = await host('exit 1');
    // For nobody to write, not even for root.
    const found = await probeHost({ ...one.options, kvmDevice: '/sys/kernel/uevent_seqnum' });
    expect(found.kvm).toBe('no-permission');
    expect(found.words[0]).toContain('add the user to the group kvm');
  });
});

describe('the result', () => {
  it('is remembered until QEMU changes or it is asked for anew', patience, async () => {
    await using one = await host('exit 1');
    const first = await probeHost(one.options);
    const calls = await one.calls();
    await expect(probeHost(one.options)).resolves.toEqual(
      expect.objectContaining({ probedAt: first.probedAt, kvm: first.kvm, words: first.words }),
    );
    // Only its version was asked for.
    expect(await one.calls()).toBe(calls + 1);
    const again = await probeHost({ ...one.options, again: true });
    expect(again.probedAt.getTime()).toBeGreaterThan(first.probedAt.getTime());
    const script = await readFile(one.options.qemuBinary, 'utf8');
    await writeFile(one.options.qemuBinary, `${script}# another\n`);
    const changed = await probeHost(one.options);
    expect(changed.probedAt.getTime()).toBeGreaterThan(again.probedAt.getTime());
    await writeFile(join(one.options.cacheDirectory, 'host-probe.json'), '{"key":');
    const repaired = await probeHost(one.options);
    expect(repaired.probedAt.getTime()).toBeGreaterThan(changed.probedAt.getTime());
  });

  it('says what to install where QEMU is missing', async () => {
    await using folder = await temporaryDirectory();
    const found = await probeHost({ qemuBinary: 'qemu-of-nobody', cacheDirectory: folder.path });
    expect(found).toMatchObject({ qemu: null, accelerator: null });
    expect(found.words.join()).toContain('apt-get install qemu-system-x86 qemu-utils');
  });

  it('says when the storage cannot be written to', patience, async () => {
    await using folder = await temporaryDirectory();
    await writeFile(join(folder.path, 'file'), '');
    const storage = join(folder.path, 'file/storage');
    const found = await probeHost({ qemuBinary: 'none', cacheDirectory: folder.path, storage });
    expect(found.storage?.problem).toContain('cannot be written to');
    expect(found.words).toContain(found.storage?.problem);
  });

  it('of an accelerator that QEMU does not have is a reason', patience, async () => {
    const trial = await tryAccelerator(String(findProgram('false')), 'tcg', 10_000);
    expect(trial).toMatchObject({ booted: false, reason: 'QEMU ended with 1' });
  });
});
