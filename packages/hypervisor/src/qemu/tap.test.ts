import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { tapName } from './layout.ts';
import { openWorkshop } from './testing.ts';

const execute = promisify(execFile);
const bridge = `vmobr${process.pid}`.slice(0, 15);

/** Whether this test may make a bridge: in many containers not even root may. */
async function makeBridge(): Promise<AsyncDisposable | null> {
  if (process.getuid?.() !== 0 || !existsSync('/dev/net/tun')) return null;
  try {
    await execute('ip', ['link', 'add', bridge, 'type', 'bridge']);
  } catch {
    return null;
  }
  return {
    async [Symbol.asyncDispose]() {
      await execute('ip', ['link', 'del', bridge]);
    },
  };
}

it('puts a machine into a bridge, and takes its device away with it', async () => {
  await using workshop = await openWorkshop();
  await using made = await makeBridge();
  const spec = workshop.spec({ memoryMib: 32, maxMemoryMib: 32, network: { mode: 'bridge', bridge } });
  if (!made) {
    const preparing = workshop.driver.prepare(spec, { runDirectory: '/nowhere' });
    await expect(preparing).rejects.toMatchObject({ problem: 'impossible' });
    return;
  }
  const { machine, run } = await workshop.start(spec);
  const tap = tapName(spec.id);
  expect(existsSync(`/sys/class/net/${bridge}/brif/${tap}`)).toBe(true);
  expect((await machine.sample()).networkReceivedBytes).toBeTypeOf('number');
  await run.cancel(0);
  await run.ended;
  expect(existsSync(`/sys/class/net/${tap}`)).toBe(false);
});
