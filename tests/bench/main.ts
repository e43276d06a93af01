/**
 * `npm run bench -- [--long] [--write-docs] [part …]`: measures, and prints every figure beside its target and beside
 * what the machine itself can do.
 */
import { loadavg } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { Part } from './bench.ts';
import { median, summary, type Figure } from './figures.ts';
import { claimsPart } from './claims.ts';
import { findPart } from './find.ts';
import { historyPart } from './history.ts';
import { latencyPart, submitPart } from './latency.ts';
import { loadPart } from './load.ts';
import { viewerPart } from './log-viewer.ts';
import { memoryPart } from './memory.ts';
import { machineWords, words, writeDocs, writeReport, type Report } from './report.ts';
import { requestApiPart, requestFloodPart } from './requests-load.ts';
import { requestsPart } from './requests.ts';
import { startPart } from './start.ts';
import { throughputPart } from './throughput.ts';
import { vmsPart } from './vms.ts';

const parts: readonly Part[] = [
  startPart,
  memoryPart,
  latencyPart,
  submitPart,
  loadPart,
  throughputPart,
  viewerPart,
  findPart,
  historyPart,
  vmsPart,
  claimsPart,
  requestsPart,
  requestApiPart,
  requestFloodPart,
];

function fail(message: string): never {
  console.error(`bench: ${message}`);
  process.exit(2);
}

function readArguments() {
  try {
    const options = { long: { type: 'boolean' }, 'write-docs': { type: 'boolean' } } as const;
    return parseArgs({ options, allowPositionals: true });
  } catch (error) {
    return fail(String(error));
  }
}

const { values: flags, positionals } = readArguments();
const unknown = positionals.filter((name) => !parts.some((part) => part.name === name));
if (unknown.length > 0)
  fail(`there is no part ${unknown.join(', ')}; there are ${parts.map(({ name }) => name).join(', ')}`);
const chosen = parts.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
if (flags['write-docs'] && chosen.length < parts.length)
  fail('--write-docs replaces the whole table: it needs every part');

const figures: Figure[] = [];
const report: Report = {
  at: new Date().toISOString(),
  machine: await machineWords(),
  loadBefore: loadavg()[0] ?? 0,
  failures: [],
  figures: [],
};

for (const { name, limitSeconds, measure } of chosen) {
  const begin = performance.now();
  const bench = {
    long: flags.long ?? false,
    add: (figure: Figure) => {
      figures.push(figure);
      console.error(`  ${figure.name}: ${median(figure.values).toFixed(2)} ${figure.unit}`);
    },
  };
  const patience = new AbortController();
  const tooLong = delay(limitSeconds * (bench.long ? 2 : 1) * 1000, undefined, {
    signal: patience.signal,
  }).then(() => {
    throw new Error(`given up after ${String(limitSeconds)} s`);
  });
  tooLong.catch(() => undefined);
  try {
    await Promise.race([measure(bench), tooLong]);
  } catch (error) {
    report.failures.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    console.error(`  ${name} failed:`, error);
  }
  patience.abort();
  console.error(`${name}: ${((performance.now() - begin) / 1000).toFixed(0)} s`);
}

report.figures = figures.map(summary);
const path = await writeReport(report);
if (flags['write-docs']) await writeDocs(report);
console.log(words(report));
console.log(`\nAll samples: ${path}`);
// A part that was given up may still hold a browser or a server: both end with this process.
process.exit(report.failures.length > 0 ? 1 : 0);
