import { temporaryDirectory } from '@vmo/testkit';
import { expect, it } from 'vitest';
import { createLocalStreamStrategy } from './local.ts';
import { createExecutionManager } from './manager.ts';
import { createProcessTable } from './process.ts';
import { StartError } from './run.ts';
import { buildSpec, readSpool } from './testing.ts';

const manager = createExecutionManager([
  createLocalStreamStrategy({ table: createProcessTable(), cgroups: null }),
]);

it('starts and adopts by the strategy of the job’s type', async () => {
  await using home = await temporaryDirectory();
  const spec = buildSpec(home.path, 'echo hello');
  const run = await manager.start('stream', spec);
  expect(await run.ended).toMatchObject({ kind: 'exited', exitCode: 0 });
  expect(await readSpool(spec)).toBe('hello\n');
  const again = await manager.adopt('stream', spec);
  expect(await again?.ended).toMatchObject({ kind: 'exited', exitCode: 0 });
});

it('refuses a type that it has no strategy for, by name', async () => {
  await using home = await temporaryDirectory();
  const spec = buildSpec(home.path, 'true');
  const refusal = new StartError('this agent cannot run jobs of type vm: it has stream');
  await expect(manager.start('vm', spec)).rejects.toEqual(refusal);
  await expect(manager.adopt('vm', spec)).rejects.toEqual(refusal);
});
