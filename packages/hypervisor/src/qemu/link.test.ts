import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createProcessTable } from '@vmo/execution';
import { startFakeQmp, type FakeQmpConnection } from '@vmo/testkit';
import { expect, it, vi } from 'vitest';
import { ticksAsleep } from './asleep.ts';
import { createLink } from './link.ts';

const id = '1c0a9a4e-3a55-4c0b-8f3e-0c6b9c1a7f10';

async function stateOf(pid: number): Promise<string | undefined> {
  return (await readFile(`/proc/${String(pid)}/stat`, 'latin1')).split(') ')[1]?.[0];
}

/** Answers what is asked after a connect, and what is asked to see whether it is there, as long as it is `awake`. */
async function answer(connection: FakeQmpConnection, isAwake: () => boolean): Promise<void> {
  for (;;) {
    const command = await connection.command();
    if (!isAwake()) return;
    connection.answer(
      command,
      command.execute === 'query-uuid' ? { UUID: id } : { status: 'running', running: true },
    );
  }
}

/** A monitor beside a process that only sleeps, as a QEMU does that hangs. */
async function follow(stack: AsyncDisposableStack, isAwake: () => boolean) {
  const monitor = stack.use(await startFakeQmp());
  const child = spawn('sleep', ['300'], { stdio: 'ignore' });
  stack.defer(() => void child.kill('SIGKILL'));
  await once(child, 'spawn');
  const table = createProcessTable();
  const found = await table.find(child.pid ?? 0);
  if (!found) throw new Error('the process has gone');
  const errors: string[] = [];
  const ended = Promise.withResolvers<string | null>();
  const link = createLink({
    ...{ id, table, path: () => Promise.resolve(monitor.path), commandTimeoutMs: 1_000 },
    identity: { pid: found.pid, start: found.start, boot: await table.bootId() },
    onConnected: () => Promise.resolve(),
    onStatus: () => undefined,
    isHeldUp: () => false,
    onEvent: () => undefined,
    onEnded: (shutdown) => ended.resolve(shutdown?.reason ?? null),
    onError: (error) => errors.push(String(error)),
  });
  stack.defer(() => link.close());
  const connection = await monitor.connection();
  await connection.welcome();
  void answer(connection, isAwake);
  await link.settled;
  expect(link.status).toBe('running');
  return { connection, child, link, errors, ended: ended.promise };
}

it('ends a QEMU that hangs when it was about to end, and none that answers', async () => {
  await using stack = new AsyncDisposableStack();
  let isAwake = true;
  const hung = await follow(stack, () => isAwake);
  const waiting = await follow(stack, () => true);
  isAwake = false;
  for (const { connection } of [hung, waiting])
    connection.event('SHUTDOWN', { guest: true, reason: 'guest-panic' });
  expect(await hung.ended).toBe('guest-panic');
  expect(hung.child.signalCode).toBe('SIGKILL');
  expect(hung.errors).toEqual([`Error: QEMU of ${id} hung when it was about to end, and was killed`]);
  expect(waiting.link.status).toBe('running');
  expect(waiting.child.signalCode).toBe(null);
}, 20_000);

it('does not ask a QEMU that a panic is about to end', async () => {
  await using stack = new AsyncDisposableStack();
  let panicked = false;
  const asked: boolean[] = [];
  const { connection, link } = await follow(stack, () => {
    asked.push(panicked);
    return true;
  });
  const beforePanic = asked.length;
  connection.event('STOP', {});
  await vi.waitFor(() => expect(asked.length).toBeGreaterThan(beforePanic));
  panicked = true;
  connection.event('GUEST_PANICKED', { action: 'poweroff' });
  connection.event('STOP', {});
  await link.execute('query-version');
  // That, and at most one look whether it is still there.
  expect(asked.filter(Boolean).length).toBeLessThan(3);
});

it('sees whether the threads of a process do anything', async () => {
  const child = spawn('sh', ['-c', 'while :; do :; done'], { stdio: 'ignore' });
  try {
    await once(child, 'spawn');
    await vi.waitFor(() => expect(ticksAsleep(child.pid ?? 0)).toBe(null));
    child.kill('SIGSTOP');
    await vi.waitFor(async () => expect(await stateOf(child.pid ?? 0)).toBe('T'));
    expect(ticksAsleep(child.pid ?? 0)).toBe(null);
  } finally {
    child.kill('SIGKILL');
  }
  await once(child, 'exit');
  expect(ticksAsleep(child.pid ?? 0)).toBe(null);
});
