import { once } from 'node:events';
import { rename, rm, symlink } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { runAtBoot, smallGuestPrompt } from '../guest/small-guest.ts';
import { sockets } from './layout.ts';
import { openWorkshop, type Workshop } from './testing.ts';

const patience = 90_000;
let workshop: Workshop;
beforeAll(async () => {
  workshop = await openWorkshop();
});
afterAll(() => workshop[Symbol.asyncDispose]());

/** Firmware that finds nothing to boot: it takes a moment to start, and hears no button. */
const bare = () => workshop.start(workshop.spec({ memoryMib: 32, maxMemoryMib: 32 }));
const short = { guestAgent: 100, acpi: 300, quit: 5_000, sigterm: 5_000 };

it('is powered down by ACPI where there is no guest agent', { timeout: patience }, async () => {
  const { see, machine, run } = await workshop.start(workshop.spec(await workshop.guest()));
  await see(smallGuestPrompt);
  expect(await machine.hasGuestAgent()).toBe(false);
  expect(await machine.stop()).toBe('acpi');
  expect(await run.ended).toMatchObject({ kind: 'exited', exitCode: 0 });
  expect(machine.status).toBe('ended');
});

it('says that the guest shut itself down', { timeout: patience }, async () => {
  const guest = await workshop.guest({ append: runAtBoot('poweroff -f') });
  const { machine } = await workshop.start(workshop.spec(guest));
  expect(await machine.ended).toEqual({ rung: 'guest', words: 'the guest shut itself down' });
});

it('makes QEMU quit when the guest does not hear the button, and joins a stop under way', async () => {
  const { machine, run } = await bare();
  expect(await Promise.all([machine.stop(short), machine.stop()])).toEqual(['quit', 'quit']);
  expect(await run.ended).toMatchObject({ kind: 'exited', exitCode: 0 });
});

it('resumes a paused machine before it is stopped', async () => {
  const { machine } = await bare();
  await machine.pause();
  expect(machine.status).toBe('paused');
  const seen: string[] = [];
  machine.onEvent(({ name }) => seen.push(name));
  expect(await machine.stop(short)).toBe('quit');
  expect(seen).toContain('RESUME');
});

it('sends SIGTERM to a QEMU whose monitor cannot be reached any more', async () => {
  const { machine, spec } = await bare();
  machine.close();
  await rm(join(workshop.storage.vmDirectory(spec.id), sockets.qmp));
  const again = await workshop.driver.connect(spec.id);
  expect(again?.pid).toBe(machine.pid);
  expect(await again?.stop({ ...short, quit: 500 })).toBe('sigterm');
});

it('kills a QEMU that was stopped in its tracks', async () => {
  const { machine, run } = await bare();
  process.kill(machine.pid, 'SIGSTOP');
  expect(await machine.stop({ guestAgent: 100, acpi: 100, quit: 100, sigterm: 100 })).toBe('sigkill');
  expect(await run.ended).toMatchObject({ kind: 'exited', exitCode: 137, signal: 'SIGKILL' });
});

it('pulls the plug at once', async () => {
  const { machine } = await bare();
  expect(await machine.kill()).toBe('quit');
});

it('calls it a crash when somebody else kills it, within moments', async () => {
  const { machine, run } = await bare();
  process.kill(machine.pid, 'SIGKILL');
  expect(await machine.ended).toEqual({ rung: 'crash', words: 'its process died without being asked to' });
  expect(await run.ended).toMatchObject({ exitCode: 137, signal: 'SIGKILL' });
  expect(await workshop.driver.connect(machine.id)).toBeNull();
  await expect(machine.pause()).rejects.toMatchObject({ problem: 'gone' });
});

it('calls it a crash when somebody else kills it while it is asked to shut down', async () => {
  const { machine } = await bare();
  const pressed = new Promise<void>((resolve) => {
    machine.onEvent(({ name }) => {
      if (name === 'POWERDOWN') resolve();
    });
  });
  const stopped = machine.stop({ ...short, acpi: 30_000 });
  await pressed;
  process.kill(machine.pid, 'SIGKILL');
  expect(await stopped).toBe('crash');
});

it('speaks to no other socket that somebody has put in the place of its own', async () => {
  const { machine, spec } = await bare();
  const directory = workshop.storage.vmDirectory(spec.id);
  machine.close();
  await rename(join(directory, sockets.qmp), join(directory, 'run/real.sock'));
  const reached: unknown[] = [];
  const elsewhere = join(directory, 'elsewhere.sock');
  const server = createServer((socket) => reached.push(socket)).listen(elsewhere);
  await once(server, 'listening');
  for (const name of [sockets.qmp, sockets.serial]) {
    await rm(join(directory, name), { force: true });
    await symlink(elsewhere, join(directory, name));
  }
  const again = await workshop.driver.connect(spec.id);
  expect(again?.status).not.toBe('running');
  await expect(again?.input('x')).rejects.toMatchObject({ problem: 'silent' });
  await expect(again?.pause()).rejects.toMatchObject({ problem: 'silent' });
  expect(reached).toEqual([]);
  // What is its own again is spoken to.
  await rm(join(directory, sockets.qmp));
  await rename(join(directory, 'run/real.sock'), join(directory, sockets.qmp));
  await vi.waitFor(() => expect(again?.status).toBe('running'), { timeout: 10_000 });
  server.close();
});

it('ends with its job, in as much time as the job gives', async () => {
  const polite = await bare();
  const begun = Date.now();
  expect((await polite.run.cancel(2_000))[0]).toBe('QEMU quit');
  expect(Date.now() - begun).toBeLessThan(4_000);
  const rude = await bare();
  expect(await rude.run.cancel(0)).toEqual(['QEMU quit']);
});
