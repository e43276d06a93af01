import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { UnreachableError } from '@vmo/client';
import { CodedError, parseInput, JobSubmission } from '@vmo/contract';
import type { Command } from 'commander';
import { cliOf, requireNoCsv, type Cli } from '../cli.ts';
import { certificateCodes, CliError, networkCode } from '../exit-codes.ts';
import { asWaitError, codeOfEnd, endWords, waitForJobs } from '../follow/run.ts';
import { createJsonSink, createStreamSink, onlyStreams } from '../follow/sinks.ts';
import { collect, environmentOf, seconds } from '../options.ts';
import { toCommand } from '../output/words.ts';
import type { World } from '../world.ts';
import { chosenStreams, patienceOption } from './jobs.ts';

interface RunOptions {
  ssh?: string;
  cwd?: string;
  env?: string[];
  secret?: string[];
  timeout?: number;
  detach?: boolean;
  cancelOnInterrupt?: boolean;
  system?: boolean;
  patience: number;
}

export function addRunCommand(parent: Command, world: World, setExitCode: (code: number) => void): void {
  parent
    .command('run')
    .summary('run a command as a job, and show what it writes')
    .description(
      'Runs a command as a job and shows what it writes, as it writes it; ends with the exit code of the command. The job outlives us: a lost connection or a restart of the server loses nothing.\n\nOne argument is given to the shell as it is, so that pipes and variables work; several are kept apart.',
    )
    .argument('<command...>', 'what to run, after --')
    .option('--ssh <host>', 'on this host of the inventory')
    .option('--cwd <directory>', 'in this directory; on a server of this machine, default: the one we are in')
    .option('-e, --env <name=value>', 'a variable, or NAME for the one that is here; again for more', collect)
    .option('--secret <name>', 'a variable that is here, masked in the log; again for more', collect)
    .option('--timeout <time>', 'end it after this, as 90s or 5m', seconds)
    .option('-d, --detach', 'do not wait: print the id of the job')
    .option('--cancel-on-interrupt', 'where there is no terminal, cancel it when we are ended')
    .option('--system', 'show what the server says about it, too')
    .addOption(patienceOption())
    .addHelpText(
      'after',
      `
Ctrl-C asks whether to cancel the job; once more leaves it running.
Exit codes: that of the command; 124 time limit, 125 no exit code, 130 cancelled.

Examples:
  vmo run -- make test
  vmo run 'make test | tee test.log'
  vmo run --ssh build7 --cwd /srv/app --timeout 10m -- ./deploy.sh
  id=$(vmo run --detach -- ./nightly.sh) && vmo logs "$id" --follow`,
    )
    .action(async (words: readonly string[], options: RunOptions, command: Command) => {
      const cli = cliOf(world, command);
      const submission = toSubmission(cli, words, options);
      if (options.detach) {
        const job = await submitJob(cli, submission);
        await (cli.output === 'json' ? cli.printJson(job) : cli.print(job.id));
        return;
      }
      try {
        requireNoCsv(cli);
        setExitCode(await runAndWait(cli, submission, options));
      } catch (error) {
        throw asWaitError(error);
      }
    });
}

/** Whether the server runs on this machine, so that our directories are its directories. */
const isLocal = (cli: Cli): boolean => cli.server().dataDirectory !== null;

function toSubmission(cli: Cli, words: readonly string[], options: RunOptions): JobSubmission {
  const { world } = cli;
  const cwd = options.cwd ?? (options.ssh === undefined && isLocal(cli) ? world.cwd : undefined);
  const secrets = environmentOf(options.secret ?? [], world.env, '--secret');
  const env = environmentOf(options.env ?? [], world.env, '--env');
  return parseInput(JobSubmission, {
    command: toCommand(words),
    // Colour for whoever looks at it; a program that reads gets plain text.
    color: world.stdout.isTTY && cli.paint.isOn,
    idempotencyKey: randomUUID(),
    ...(options.ssh === undefined ? {} : { host: options.ssh }),
    ...(cwd === undefined ? {} : { cwd }),
    ...(options.env ? { env } : {}),
    ...(options.secret ? { secrets } : {}),
    ...(options.timeout === undefined ? {} : { timeout: options.timeout }),
  });
}

const retries = 3;
const retryMs = 1_000;

/**
 * Sends what must be done exactly once: it carries an idempotency key, so an answer that got lost is asked for again.
 * A server that refuses the connection has not taken it and is not asked again.
 */
export async function submitOnce<T>(send: () => Promise<T>): Promise<T> {
  for (let left = retries; ; left -= 1) {
    try {
      return await send();
    } catch (error) {
      if (left === 0 || !mayHaveArrived(error)) throw error;
      await delay(retryMs);
    }
  }
}

/** There was no connection, so nothing went over it. */
const neverArrived = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', ...certificateCodes]);

function mayHaveArrived(error: unknown): boolean {
  if (error instanceof CodedError) return error.code === 'DATABASE_UNAVAILABLE';
  if (!(error instanceof UnreachableError)) return false;
  return !neverArrived.has(networkCode(error) ?? '');
}

async function submitJob(cli: Cli, submission: JobSubmission) {
  const { job } = await submitOnce(() => cli.client().call('submitJob', { body: submission }));
  return job;
}

async function runAndWait(cli: Cli, submission: JobSubmission, options: RunOptions): Promise<number> {
  const { id: jobId } = await submitJob(cli, submission);
  const { stdout, stderr } = cli.world;
  const sink =
    cli.output === 'table'
      ? createStreamSink({ client: cli.client(), jobId, outputs: { stdout, stderr } }, true)
      : createJsonSink(stdout);
  const streams = chosenStreams(options.system ? ['all'] : undefined);
  const [ended] = await waitForJobs(
    cli,
    [{ jobId, sink: streams === null ? sink : onlyStreams(sink, new Set(streams)) }],
    {
      thing: 'job',
      hints: (id) => [`To see it: vmo logs ${id} --follow`, `To cancel it: vmo cancel ${id}`],
      cancelOnInterrupt: options.cancelOnInterrupt ?? false,
      patience: options.patience,
    },
  );
  if (!ended) throw new CliError('the job was not waited for');
  const words = endWords('job', ended);
  if (words !== null) cli.note(cli.errorPaint.bad(`vmo: ${words}`));
  return codeOfEnd(ended.done);
}
