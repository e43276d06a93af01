import { JobStatus, JobType, LogStream, type Job, type JobFilter } from '@vmo/contract';
import { Argument, Option, type Command } from 'commander';
import { confirm } from '../ask.ts';
import { cliOf, type Cli } from '../cli.ts';
import { CliError, exitCodes } from '../exit-codes.ts';
import { showLog } from '../follow/show-log.ts';
import { moment, seconds, wholeNumber } from '../options.ts';
import { watchList } from '../output/watch.ts';
import type { Column } from '../output/table.ts';
import { agoWords, durationWords } from '../output/words.ts';
import { findJob, shortId } from '../resolve.ts';
import type { World } from '../world.ts';

/** Seconds for which a server that is away is waited for, unless told otherwise. */
export const defaultPatience = 300;
const mostJobs = 500;

/** The id as it fits: whole for programs and wide terminals. */
export const idColumn = <T>(cli: Cli, value: (row: T) => string): Column<T> => {
  const { stdout } = cli.world;
  const isNarrow = cli.output === 'table' && stdout.isTTY && stdout.columns < 140;
  return { title: 'ID', value: (row) => (isNarrow ? shortId(value(row)) : value(row)) };
};

export function jobColumns(cli: Cli): Column<Job>[] {
  return [
    idColumn(cli, ({ id }) => id),
    { title: 'STATUS', value: ({ status }) => status, paint: cli.paint.status },
    { title: 'EXIT', value: ({ exitCode }) => (exitCode === null ? '' : String(exitCode)), isRight: true },
    { title: 'TYPE', value: ({ type }) => type },
    cli.output === 'table'
      ? { title: 'CREATED', value: ({ createdAt }) => agoWords(createdAt) }
      : { title: 'CREATED', value: ({ createdAt }) => createdAt },
    { title: 'TIME', value: ({ durationMs }) => durationWords(durationMs), isRight: true },
    { title: 'COMMAND', value: ({ command }) => command, isFlexible: true },
  ];
}

export const patienceOption = () =>
  new Option('--patience <time>', 'how long to wait for a server that is away')
    .argParser(seconds)
    .default(defaultPatience, '5m');

export interface ListOptions {
  status?: JobStatus;
  limit: number;
  watch?: boolean;
}

export function addJobCommands(parent: Command, world: World): void {
  parent
    .command('jobs')
    .summary('list jobs, newest first')
    .description('Lists jobs, newest first.')
    .addOption(new Option('-s, --status <status>', 'only those').choices(JobStatus.options))
    .addOption(new Option('-t, --type <type>', 'only those').choices(JobType.options))
    .option('-q, --query <text>', 'only those whose command has this in it')
    .option('-n, --limit <number>', 'so many at most', wholeNumber(1, mostJobs), 20)
    .option('-w, --watch', 'show it again whenever it changes')
    .addHelpText(
      'after',
      `
Examples:
  vmo jobs --status running
  vmo jobs --query 'make test' --output json | jq -r '.[].id'`,
    )
    .action(listJobs(world));

  parent
    .command('logs')
    .summary('show what a job wrote')
    .description(
      'Shows the log of a job: what it wrote to stdout on stdout, what it wrote to stderr on stderr. Where a program reads, the bytes are exactly those that the job wrote.',
    )
    .argument('<job>', 'id of the job, or the beginning of one')
    .option('-f, --follow', 'go on until its end')
    .addOption(
      new Option('--stream <names...>', 'only these: stdout, stderr, boot, command, system, all')
        .choices([...LogStream.options, 'all'])
        .default(undefined, 'stdout, stderr and boot'),
    )
    .option('-n, --limit <lines>', 'begin with the last lines, so many', wholeNumber(0, 1_000_000_000))
    .option('--since <time>', 'begin with what came after this: 10m, or 2026-03-01T12:00', moment)
    .option('--timestamps', 'put its time in front of every line')
    .addOption(patienceOption())
    .addHelpText(
      'after',
      `
Examples:
  vmo logs 0199a3f2-77b1 --follow
  vmo logs 0199a3f2-77b1 --stream stderr --limit 50
  vmo logs 0199a3f2-77b1 > build.tar   # byte for byte`,
    )
    .action(showJobLog(world));

  parent
    .command('cancel')
    .summary('cancel jobs')
    .description('Cancels jobs: SIGTERM, a grace time, then everything that belongs to them is killed.')
    .addArgument(new Argument('<jobs...>', 'ids, or the beginnings of ids'))
    .option('-y, --yes', 'do not ask')
    .addHelpText(
      'after',
      `
Examples:
  vmo cancel 0199a3f2-77b1
  vmo jobs -s running -o json | jq -r '.[].id' | xargs vmo cancel --yes`,
    )
    .action(cancelJobs(world));
}

function listJobs(world: World) {
  return async (
    options: ListOptions & { type?: JobType; query?: string },
    command: Command,
  ): Promise<void> => {
    const cli = cliOf(world, command);
    const query: Partial<JobFilter> = { limit: options.limit };
    if (options.status) query.status = options.status;
    if (options.type) query.type = options.type;
    if (options.query !== undefined) query.q = options.query;
    const read = async () => (await cli.client().call('listJobs', { query })).jobs;
    if (options.watch) await watchJobs(cli, jobColumns(cli), read);
    else await cli.printList(jobColumns(cli), await read());
  };
}

/** Shows rows of jobs, or of what is one, whenever a job changes. */
export async function watchJobs<T extends { status: string }>(
  cli: Cli,
  columns: readonly Column<T>[],
  read: () => Promise<readonly T[]>,
  key: (row: T) => string = (row) => JSON.stringify('id' in row ? row.id : row),
): Promise<void> {
  const connection = cli.connect();
  try {
    await watchList(cli, {
      columns,
      read,
      key,
      version: (row) => row.status,
      onChange: (listener) => connection.watchJobs(listener, listener),
    });
  } finally {
    connection.close();
  }
}

export interface LogCommandOptions {
  follow?: boolean;
  stream?: (LogStream | 'all')[];
  limit?: number;
  since?: number;
  timestamps?: boolean;
  patience: number;
}

const aboutIt: readonly LogStream[] = ['system', 'command'];

/** The streams that were asked for; by default what the job wrote, without what is said about it. */
export function chosenStreams(
  names: readonly (LogStream | 'all')[] | undefined,
): readonly LogStream[] | null {
  if (names === undefined) return LogStream.options.filter((stream) => !aboutIt.includes(stream));
  return names.includes('all') ? null : names.filter((name) => name !== 'all');
}

function showJobLog(world: World) {
  return async (text: string, options: LogCommandOptions, command: Command): Promise<void> => {
    const cli = cliOf(world, command);
    const job = await findJob(cli.client(), text);
    await showLog(cli, job.id, {
      streams: chosenStreams(options.stream),
      follow: options.follow ?? false,
      limit: options.limit,
      since: options.since,
      timestamps: options.timestamps ?? false,
      patience: options.patience,
    });
  };
}

function cancelJobs(world: World) {
  return async (texts: readonly string[], options: { yes?: boolean }, command: Command): Promise<void> => {
    const cli = cliOf(world, command);
    const client = cli.client();
    // All are found before any is cancelled: a mistyped id must not leave half of it done.
    const jobs: Job[] = [];
    for (const text of texts) jobs.push(await findJob(client, text));
    // One that is named is meant; many are asked about.
    if (jobs.length > 1) await confirm(world, `Cancel ${String(jobs.length)} jobs?`, options.yes ?? false);
    const cancelled: Job[] = [];
    const problems: string[] = [];
    for (const { id } of jobs) {
      try {
        cancelled.push((await client.call('cancelJob', { body: { jobId: id } })).job);
      } catch (error) {
        if (jobs.length === 1) throw error;
        problems.push(`${shortId(id)}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    if (cli.output === 'json') await cli.printJson(cancelled);
    else
      for (const { id, status } of cancelled)
        await cli.print(`${id} ${status === 'cancelled' ? 'cancelled' : 'is being cancelled'}`);
    if (problems.length > 0) {
      throw new CliError(
        `${String(problems.length)} of ${String(jobs.length)} were not cancelled`,
        exitCodes.failed,
        { hints: problems },
      );
    }
  };
}
