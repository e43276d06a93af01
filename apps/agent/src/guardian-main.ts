import { renameSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { createLocalStreamStrategy, createProcessTable, isAlive, probeCgroups } from '@vmo/execution';
import { lockOf, ownIdentity, readHolder } from './data-directory.ts';
import { guardianFile } from './guardian-process.ts';
import { guard } from './guardian.ts';

/*
 * Beside a remote agent, and not dependent on it: ends its runs when its lease is over, also when the agent was killed or
 * stopped. Goes when the agent is gone and there is nothing left to end.
 */
const [directory, runsDirectory, every] = process.argv.slice(2);
if (directory === undefined || runsDirectory === undefined || every === undefined)
  throw new Error('usage: guardian-main.ts <directory> <runs directory> <milliseconds between looks>');

const table = createProcessTable();
const identity = await ownIdentity(table);
const options = {
  directory,
  runsDirectory,
  boot: identity.boot,
  local: createLocalStreamStrategy({ table, cgroups: await probeCgroups() }),
  onError: (error: unknown) => {
    process.stderr.write(`a run could not be ended: ${String(error)}\n`);
  },
};
const file = guardianFile(directory);
writeFileSync(`${file}.${String(process.pid)}`, JSON.stringify(identity), { mode: 0o600 });
renameSync(`${file}.${String(process.pid)}`, file);

for (;;) {
  const { held, ended } = await guard(options);
  if (!held && ended === 0) {
    const agent = await readHolder(lockOf(directory, 'agent'));
    if (!agent || !(await isAlive(table, agent))) break;
  }
  await delay(Number(every));
}
