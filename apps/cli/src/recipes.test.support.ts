import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream, openAsBlob } from 'node:fs';
import { glob, mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { basename, join, relative } from 'node:path';
import { text } from 'node:stream/consumers';
import { buildSmallGuest, smallGuestKernelArguments } from '@vmo/hypervisor';
import type { TestServer } from '@vmo/testkit';
import { parse } from 'yaml';
import { z } from 'zod';

/* What docs/guide/ci.md tells each system to do, taken apart as that system does it. */

const guide = join(import.meta.dirname, '..', '..', '..', 'docs', 'guide', 'ci.md');

export interface Recipe {
  /** The shell of the system and its options; the file of a script follows. */
  shell: readonly [string, ...string[]];
  /** What the recipe sets. */
  env: Record<string, string>;
  /** Each runs in a shell of its own. */
  scripts: string[];
  /** What the system keeps of the folder afterwards, as a pattern of files. */
  kept: string;
}

/** What the system knows, by the name that the recipe has for it. */
type Known = Readonly<Record<string, string>>;

/** The fenced block below a heading. */
async function blockOf(heading: string): Promise<string> {
  const sections = (await readFile(guide, 'utf8')).split(/^## /m);
  const section = sections.find((text) => text.startsWith(`${heading}\n`)) ?? '';
  const block = /^```\w+\n(.*?)^```$/ms.exec(section)?.[1];
  if (block === undefined) throw new Error(`there is no recipe for ${heading} in ${guide}`);
  return block;
}

/** Puts in what the expressions stand for; one that nobody knows is a mistake of the recipe. */
function fillIn(text: string, expression: RegExp, known: Known): string {
  return text.replace(expression, (_, name: string) => {
    const value = known[name];
    if (value === undefined) throw new Error(`the recipe asks for ${name}, which is not known`);
    return value;
  });
}

const mapValues = (record: Known, change: (text: string) => string): Record<string, string> =>
  Object.fromEntries(Object.entries(record).map(([name, text]) => [name, change(text)]));

const Texts = z.record(z.string(), z.string());

const GithubWorkflow = z.object({
  jobs: z.object({
    test: z.object({
      strategy: z.object({ matrix: z.object({ vm: z.array(z.string()) }) }),
      env: Texts,
      steps: z.array(
        z.object({
          run: z.string().optional(),
          uses: z.string().optional(),
          with: z.looseObject({ path: z.string().optional() }).optional(),
        }),
      ),
    }),
  }),
});

/** Expressions are filled in by GitHub before a shell sees them; the rest of the env and of the steps is as written. */
export async function githubRecipe(known: Known): Promise<Recipe & { machines: string[] }> {
  const { test } = GithubWorkflow.parse(parse(await blockOf('GitHub Actions'))).jobs;
  const fill = (text: string) => fillIn(text, /\$\{\{ *([\w.]+) *\}\}/g, known);
  const upload = test.steps.find(({ uses }) => uses?.startsWith('actions/upload-artifact@'));
  return {
    machines: test.strategy.matrix.vm,
    shell: ['bash', '-e'],
    env: mapValues(test.env, fill),
    scripts: test.steps.flatMap(({ run }) => (run === undefined ? [] : [fill(run)])),
    kept: `${upload?.with?.path ?? ''}/**`,
  };
}

const GitlabPipeline = z.object({
  test: z.object({
    parallel: z.object({ matrix: z.array(z.object({ VM: z.array(z.string()) })) }),
    before_script: z.array(z.string()),
    script: z.array(z.string()),
    artifacts: z.object({ when: z.literal('always'), reports: z.object({ junit: z.string() }) }),
    retry: z.object({ exit_codes: z.array(z.int()) }),
  }),
});

/** All lines of a job are one script. Its variables are the environment's. */
export async function gitlabRecipe(): Promise<Recipe & { machines: string[]; retried: number[] }> {
  const { test } = GitlabPipeline.parse(parse(await blockOf('GitLab CI')));
  const lines = ['set -eo pipefail', 'set +o noclobber', ...test.before_script, ...test.script];
  return {
    machines: test.parallel.matrix.flatMap(({ VM }) => VM),
    shell: ['bash'],
    env: {},
    scripts: [lines.join('\n')],
    kept: test.artifacts.reports.junit,
    retried: test.retry.exit_codes,
  };
}

/** In both kinds of quotes a backslash at the end of a line joins it to the next. */
function groovyText(text: string): string {
  const joined = text.replaceAll('\\\n', '');
  if (joined.includes('\\')) throw new Error(`a backslash means something else to Groovy: ${text}`);
  return joined;
}

/** Only strings in double quotes are filled in. */
export async function jenkinsRecipe(known: Known): Promise<Recipe> {
  const block = await blockOf('Jenkins');
  const environment = /^ {2}environment \{\n(.*?)^ {2}\}$/ms.exec(block)?.[1] ?? '';
  const env: Record<string, string> = {};
  for (const line of environment.trimEnd().split('\n')) {
    const [, name = '', plain, filled, credential] =
      /^ {4}(\w+) = (?:'([^']*)'|"([^"]*)"|credentials\('([\w-]+)'\))$/.exec(line) ?? [];
    const value =
      plain ??
      (filled === undefined ? undefined : fillIn(filled, /\$\{([\w.]+)\}/g, known)) ??
      (credential === undefined ? undefined : known[credential]);
    if (value === undefined) throw new Error(`what does the recipe set here? ${line}`);
    env[name] = value;
  }
  const steps = block.matchAll(/^ +sh (?:'''(.*?)'''|'([^'\n]*)')$/gms);
  return {
    shell: ['sh', '-xe'],
    env,
    scripts: Array.from(steps, ([, long, short]) => groovyText(long ?? short ?? '')),
    kept: /archiveArtifacts artifacts: '([^']+)'/.exec(block)?.[1] ?? '',
  };
}

export interface ScriptEnd {
  code: number | null;
  stdout: string;
  stderr: string;
}

interface Where {
  folder: string;
  env: Readonly<Record<string, string>>;
}

/** Starts one in the folder. `kill` sends to the shell alone. */
export async function startScript(
  [shell, ...options]: Recipe['shell'],
  script: string,
  { folder, env }: Where,
): Promise<{ kill: (signal: NodeJS.Signals) => void; ended: Promise<ScriptEnd> }> {
  const file = `${folder}.script`;
  await writeFile(file, script);
  const child = spawn(shell, [...options, file], { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] });
  const all = [text(child.stdout), text(child.stderr), once(child, 'close')] as const;
  return {
    kill: (signal) => child.kill(signal),
    ended: Promise.all(all).then(([stdout, stderr]) => ({ code: child.exitCode, stdout, stderr })),
  };
}

/** Runs them one after another, up to the first that fails. */
export async function runScripts(
  { shell, scripts }: Pick<Recipe, 'shell' | 'scripts'>,
  where: Where,
): Promise<ScriptEnd[]> {
  const ends: ScriptEnd[] = [];
  for (const script of scripts) {
    const end = await (await startScript(shell, script, where)).ended;
    ends.push(end);
    if (end.code !== 0) break;
  }
  return ends;
}

/** What a system keeps of a folder, by the path in it. */
export async function filesKept(pattern: string, folder: string): Promise<Record<string, string>> {
  const kept: Record<string, string> = {};
  for await (const entry of glob(pattern, { cwd: folder, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile()) kept[relative(folder, path)] = await readFile(path, 'utf8');
  }
  return kept;
}

/** A file at an address, as a place that runners fetch it from. */
export async function serveFile(path: string): Promise<{ url: string } & AsyncDisposable> {
  const server = createServer((_, response) => {
    createReadStream(path).pipe(response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' ? String(address?.port) : '';
  return {
    url: `http://127.0.0.1:${port}/${basename(path)}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

const guestCache = join(import.meta.dirname, '..', '..', '..', '.cache', 'test', 'guests');

/** Templates of these names: the small guest with GNU make, which finds its name on its command line. */
export async function makeTemplates({ client }: TestServer, names: readonly string[]): Promise<void> {
  const guest = await buildSmallGuest(guestCache, { programs: ['make'] });
  for (const kind of ['kernel', 'initrd'] as const) {
    const bytes = await openAsBlob(guest[kind]);
    const name = `with-make.${kind}`;
    await client.call('createImage', { body: { name, kind, sizeBytes: bytes.size } });
    await client.upload('putImageBytes', { params: { imageName: name }, query: { offset: 0 }, bytes });
  }
  for (const name of names) {
    await client.call('createTemplate', {
      body: {
        ...{ name, memoryMib: 256, kernel: 'with-make.kernel', initrd: 'with-make.initrd' },
        append: `${smallGuestKernelArguments} machine=${name}`,
      },
    });
  }
}

/** What `make check` of the project does in a guest; it fails where `failures` says so. */
const check = String.raw`machine=$(sed 's/.* machine=\([^ ]*\).*/\1/' /proc/cmdline)
echo "$machine checks" $(ls -A)
echo "a warning of $machine" >&2
echo "<testsuite name='$machine' failures='$(cat failures)'/>" >report.xml
exit "$(cat failures)"
`;

/** What is said on stdout by {@link makeProject}'s check, and what is in its report. */
export const linesOf = (machine: string): string[] => [
  'sh check.sh',
  `${machine} checks Makefile check.sh failures source.tgz`,
];
export const reportOf = (machine: string, failures = 0): string =>
  `<testsuite name='${machine}' failures='${String(failures)}'/>\n`;

/** As it is checked out. */
export async function makeProject(folder: string, failures = 0): Promise<void> {
  await mkdir(join(folder, '.git'), { recursive: true });
  await writeFile(join(folder, '.git', 'HEAD'), 'ref: refs/heads/main\n');
  await writeFile(join(folder, 'Makefile'), '.PHONY: check\ncheck:\n\tsh check.sh\n');
  await writeFile(join(folder, 'check.sh'), check);
  await writeFile(join(folder, 'failures'), `${String(failures)}\n`);
}
