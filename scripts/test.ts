/**
 * Runs the stages of `npm test` and sums them up:
 *
 *     node scripts/test.ts [check|fast|faults|e2e …] [-- argument for the test runner …]
 *
 * Every stage runs, also after one that failed. Beside others, `check` takes the time that they leave: it only reads,
 * and the faults wait a lot. The last line is `N passed, N failed`, counted from the reports of
 * vitest and Playwright; a check, a threshold or a runner that failed without a failed test counts as one failure,
 * and so does a skipped test on Linux, where everything that is tested is there.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');
const reports = path.join(root, '.cache', 'test');
const stages = ['check', 'fast', 'faults', 'e2e'] as const;
type Stage = (typeof stages)[number];

interface Tally {
  passed: number;
  failed: number;
  /** What failed, by name: said once more at the end, where whoever reads only that finds it. */
  names: string[];
}

interface Command {
  /** Path of the tool's program inside node_modules. */
  tool: string;
  args: string[];
  cwd?: string;
}

const children = new Set<ChildProcess>();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    for (const child of children) child.kill(signal);
    process.exitCode = 130;
  });
}

/** Settings of a cockpit that the person runs must not steer the ones that the tests start. */
function environment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(VMO_(?!TEST_)|DATABASE_URL$|INIT_CWD$)/.test(name),
  );
  return Object.fromEntries(kept);
}

/** @returns the exit code (1 for a signal) and, unless `live`, what the tool said */
function run(
  { tool, args, cwd = root }: Command,
  live: boolean,
  priority: number = os.constants.priority.PRIORITY_NORMAL,
): Promise<{ code: number; output: string }> {
  return new Promise((resolve, reject) => {
    const output: Buffer[] = [];
    const child = spawn(process.execPath, [path.join(root, 'node_modules', tool), ...args], {
      cwd,
      env: environment(),
      stdio: ['ignore', live ? 'inherit' : 'pipe', live ? 'inherit' : 'pipe'],
    });
    children.add(child);
    if (child.pid !== undefined) os.setPriority(child.pid, priority);
    child.stdout?.on('data', (bytes: Buffer) => output.push(bytes));
    child.stderr?.on('data', (bytes: Buffer) => output.push(bytes));
    child.on('error', reject);
    child.on('close', (code) => {
      children.delete(child);
      resolve({ code: code ?? 1, output: Buffer.concat(output).toString() });
    });
  });
}

const seconds = (began: number) => `${((performance.now() - began) / 1000).toFixed(1)} s`;
const print = (line: string) => process.stdout.write(`${line}\n`);

const web = path.join(root, 'apps', 'web');

/** Two queues, because ESLint takes about as long as everything else. */
const checks: { name: string; commands: Command[] }[][] = [
  [{ name: 'eslint', commands: [{ tool: 'eslint/bin/eslint.js', args: ['--max-warnings', '0', '.'] }] }],
  [
    { name: 'prettier', commands: [{ tool: 'prettier/bin/prettier.cjs', args: ['--check', '.'] }] },
    { name: 'tsc', commands: [{ tool: 'typescript/bin/tsc', args: ['-p', 'tsconfig.json'] }] },
    {
      name: 'svelte-check',
      commands: [
        { tool: '@sveltejs/kit/svelte-kit.js', args: ['sync'], cwd: web },
        {
          tool: 'svelte-check/bin/svelte-check',
          args: ['--tsconfig', './tsconfig.json', '--fail-on-warnings'],
          cwd: web,
        },
      ],
    },
    { name: 'knip', commands: [{ tool: 'knip/bin/knip.js', args: [] }] },
  ],
];

async function check(priority?: number): Promise<Tally> {
  const names: string[] = [];
  await Promise.all(
    checks.map(async (queue) => {
      for (const { name, commands } of queue) {
        const began = performance.now();
        let said: string | undefined;
        for (const command of commands) {
          const { code, output } = await run(command, false, priority);
          if (code !== 0) said = output.trimEnd();
          if (said !== undefined) break;
        }
        if (said !== undefined) names.push(name);
        print(
          said === undefined
            ? `✓ ${name} (${seconds(began)})`
            : `${said}\n✕ ${name} failed (${seconds(began)})`,
        );
      }
    }),
  );
  return { passed: 0, failed: names.length, names };
}

/** The report as far as it is used here; a runner that wrote none has failed before its first test. */
function readReport<T>(file: string): Partial<T> {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Partial<T>;
  } catch {
    return {};
  }
}

interface Counted {
  passed: number;
  failed: number;
  skipped: number;
  names: string[];
}

function toTally({ passed, failed, skipped, names }: Counted, code: number): Tally {
  const failures = failed + (process.platform === 'linux' ? skipped : 0);
  if (skipped > 0) names.push(`${String(skipped)} tests were skipped`);
  if (failures > 0 || code === 0) return { passed, failed: failures, names };
  return { passed, failed: 1, names: ['the runner or a threshold, see above'] };
}

interface VitestReport {
  numPassedTests: number;
  numFailedTests: number;
  numPendingTests: number;
  numTodoTests: number;
  testResults: {
    name: string;
    status: string;
    assertionResults: { fullName: string; status: string; failureMessages: string[] }[];
  }[];
}

async function vitest(name: string, args: string[]): Promise<Tally> {
  const file = path.join(reports, `${name}.json`);
  rmSync(file, { force: true });
  const reporting = ['--reporter=json', `--outputFile.json=${file}`];
  const { code } = await run({ tool: 'vitest/vitest.mjs', args: ['run', ...reporting, ...args] }, true);
  const report = readReport<VitestReport>(file);
  const failedTests = (report.testResults ?? []).flatMap(({ name: testFile, assertionResults }) =>
    assertionResults
      .filter(({ status }) => status === 'failed')
      .map(({ fullName, failureMessages: [said = ''] }) => {
        const [words = ''] = said.split('\n', 1);
        return `${path.relative(root, testFile)} › ${fullName}: ${words}`;
      }),
  );
  return toTally(
    {
      passed: report.numPassedTests ?? 0,
      failed: report.numFailedTests ?? 0,
      skipped: (report.numPendingTests ?? 0) + (report.numTodoTests ?? 0),
      names: failedTests,
    },
    code,
  );
}

function fast(args: string[]): Promise<Tally> {
  // The thresholds hold for the whole suite, not for a part of it.
  const coverage = args.length === 0 ? ['--coverage'] : [];
  const projects = ['--project=node', '--project=web'];
  return vitest('fast', ['--reporter=default', ...projects, ...coverage, ...args]);
}

function faults(args: string[]): Promise<Tally> {
  const reporter = './tests/faults/support/reporter.ts';
  const projects = ['--project=faults', '--project=faults-that-wait'];
  return vitest('faults-run', ['--reporter=default', `--reporter=${reporter}`, ...projects, ...args]);
}

interface PlaywrightSuite {
  specs?: { ok: boolean; title: string; file: string }[];
  suites?: PlaywrightSuite[];
}

interface PlaywrightReport {
  stats: Record<'expected' | 'unexpected' | 'flaky' | 'skipped', number>;
  suites: PlaywrightSuite[];
}

const failedSpecs = ({ specs = [], suites = [] }: PlaywrightSuite): string[] => [
  ...specs.filter(({ ok }) => !ok).map(({ file, title }) => `tests/e2e/${file} › ${title}`),
  ...suites.flatMap(failedSpecs),
];

async function playwright(args: string[]): Promise<Tally> {
  // Named in playwright.config.ts as well.
  const file = path.join(reports, 'e2e.json');
  rmSync(file, { force: true });
  const { code } = await run({ tool: '@playwright/test/cli.js', args: ['test', ...args] }, true);
  const { stats, suites = [] } = readReport<PlaywrightReport>(file);
  return toTally(
    {
      passed: stats?.expected ?? 0,
      failed: (stats?.unexpected ?? 0) + (stats?.flaky ?? 0),
      skipped: stats?.skipped ?? 0,
      names: suites.flatMap(failedSpecs),
    },
    code,
  );
}

/** All of it in two parts: the second one measures, and has the machine to itself. */
async function e2e(args: string[]): Promise<Tally> {
  if (args.length > 0) return playwright(args);
  // Each leaves what it has to show of its failures in a folder of its own.
  const project = (name: string) =>
    playwright([`--project=${name}`, '--output', path.join('test-results', name)]);
  const stories = await project('stories');
  const timed = await project('timed');
  return {
    passed: stories.passed + timed.passed,
    failed: stories.failed + timed.failed,
    names: [...stories.names, ...timed.names],
  };
}

const isStage = (word: string): word is Stage => stages.some((stage) => stage === word);

const words = process.argv.slice(2);
const named: Stage[] = [];
while (words[0] !== undefined && isStage(words[0])) {
  named.push(words[0]);
  words.shift();
}
if (words[0] === '--') words.shift();
if (words.length > 0 && (named.length !== 1 || named[0] === 'check')) {
  process.stderr.write(`vmo: there is no stage "${words[0] ?? ''}": ${stages.join(', ')}\n`);
  process.exit(2);
}

mkdirSync(reports, { recursive: true });
const total: Tally = { passed: 0, failed: 0, names: [] };
const summary: string[] = [];

async function sumUp(stage: Stage, work: () => Promise<Tally>): Promise<void> {
  const began = performance.now();
  const tally = await work();
  total.passed += tally.passed;
  total.failed += tally.failed;
  total.names.push(...tally.names.map((name) => `✕ ${stage}: ${name}`));
  summary.push(`${tally.failed === 0 ? '✓' : '✕'} ${stage.padEnd(6)} ${seconds(began).padStart(8)}`);
}

const wanted: readonly Stage[] = named.length > 0 ? named : stages;
const others = wanted.filter((stage) => stage !== 'check');
/** Which of the others leaves it the most time. */
const besideCheck = (['faults', 'e2e', 'fast'] as const).find((stage) => others.includes(stage));
let checking: Promise<void> | undefined;
for (const stage of others) {
  if (process.exitCode === 130) break;
  print(`\n── ${stage} ──`);
  if (wanted.includes('check') && stage === besideCheck) {
    print('── check, beside it ──');
    checking = sumUp('check', () => check(os.constants.priority.PRIORITY_LOW));
  }
  await sumUp(stage, () => ({ fast, faults, e2e })[stage](words));
}
if (others.length === 0) await sumUp('check', () => check());
await checking;
print(`\n${[...summary, ...total.names].join('\n')}`);
print(`${String(total.passed)} passed, ${String(total.failed)} failed`);
process.exitCode ??= total.failed === 0 ? 0 : 1;
