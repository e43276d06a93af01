import {
  isFinal,
  JobStatus,
  LogStream,
  successRate,
  type JobId,
  type RequestFigures,
  type RequestFilter,
} from '@vmo/contract';
import { Argument, Option, type Command } from 'commander';
import { confirm } from '../ask.ts';
import { cliOf, type Cli } from '../cli.ts';
import { CliError, exitCodes } from '../exit-codes.ts';
import { showLog } from '../follow/show-log.ts';
import { examples } from '../help.ts';
import { moment, wholeNumber } from '../options.ts';
import { bytesWords, durationWords } from '../output/words.ts';
import { findRequest } from '../resolve.ts';
import { saveArtifacts } from '../requests/artifacts.ts';
import { artifactColumns, printRequest, requestColumns } from '../requests/show.ts';
import type { World } from '../world.ts';
import { patienceOption, watchJobs } from './jobs.ts';
import { addSubmitCommand } from './submit.ts';

const requestArgument = () => new Argument('<request>', 'its uuid, or the beginning of one');

export function addRequestCommands(parent: Command, world: World, setExitCode: (code: number) => void): void {
  addSubmitCommand(parent, world, setExitCode);
  addListRequests(parent, world);
  parent
    .command('show-request')
    .summary('all about a request')
    .description(
      'Shows a request: its stages with their durations, each command with its result, its artifacts.',
    )
    .addArgument(requestArgument())
    .addHelpText(
      'after',
      examples('vmo show-request 0199a3f2-77b1', 'vmo show-request 0199a3f2-77b1 -o json | jq .results'),
    )
    .action(async (text: string, _options: object, command: Command) => {
      const cli = cliOf(world, command);
      await printRequest(cli, await findRequest(cli.client(), text));
    });
  addShowLogs(parent, world);
  addDeleteRequest(parent, world);
  addChanges(parent, world);
  addArtifacts(parent, world);
  addStats(parent, world);
}

interface ListRequestsOptions {
  status?: JobStatus;
  vm?: string;
  label?: string;
  limit: number;
  offset: number;
  watch?: boolean;
}

function addListRequests(parent: Command, world: World): void {
  parent
    .command('list-requests')
    .summary('list requests, newest first')
    .description('Lists simulation requests, newest first.')
    .addOption(new Option('-s, --status <status>', 'only those').choices(JobStatus.options))
    .option('--vm <name>', 'only those for this machine')
    .option('-l, --label <name[=value]>', 'only those with this label')
    .option('-n, --limit <number>', 'so many at most', wholeNumber(1, 1000), 20)
    .option('--offset <number>', 'pass over so many', wholeNumber(0, 1_000_000_000), 0)
    .option('-w, --watch', 'show it again whenever it changes')
    .addHelpText(
      'after',
      `
Examples:
  vmo list-requests --status running --watch
  vmo list-requests --label build=1234 --output csv`,
    )
    .action(async (options: ListRequestsOptions, command: Command) => {
      const cli = cliOf(world, command);
      const query: Partial<RequestFilter> = { limit: options.limit, offset: options.offset };
      if (options.status) query.status = options.status;
      if (options.vm !== undefined) query.vm_name = options.vm;
      if (options.label !== undefined) query.label = options.label;
      const read = async () => (await cli.client().call('listRequests', { query })).requests;
      if (options.watch) await watchJobs(cli, requestColumns(cli), read, ({ uuid }) => uuid);
      else await cli.printList(requestColumns(cli), await read());
    });
}

interface ShowLogsOptions {
  follow?: boolean;
  logType?: LogStream[];
  limit?: number;
  since?: number;
  timestamps?: boolean;
  patience: number;
}

function addShowLogs(parent: Command, world: World): void {
  parent
    .command('show-logs')
    .summary('show the log of a request')
    .description(
      'Shows the log of a request, each line with its type in front. With one --log-type, its bytes as they are.',
    )
    .addArgument(requestArgument())
    .option('-f, --follow', 'go on until its end')
    .addOption(new Option('--log-type <types...>', 'only these').choices(LogStream.options))
    .option('-n, --limit <lines>', 'begin with the last lines, so many', wholeNumber(0, 1_000_000_000))
    .option('--since <time>', 'begin with what came after this: 10m, or 2026-03-01T12:00', moment)
    .option('--timestamps', 'put its time in front of every line')
    .addOption(patienceOption())
    .addHelpText(
      'after',
      `
Examples:
  vmo show-logs 0199a3f2-77b1 --follow
  vmo show-logs 0199a3f2-77b1 --log-type stdout > result.txt`,
    )
    .action(async (text: string, options: ShowLogsOptions, command: Command) => {
      const cli = cliOf(world, command);
      const { uuid } = await findRequest(cli.client(), text);
      const streams = options.logType ?? null;
      await showLog(cli, uuid, {
        streams,
        isLabelled: streams?.length !== 1,
        follow: options.follow ?? false,
        limit: options.limit,
        since: options.since,
        timestamps: options.timestamps ?? false,
        patience: options.patience,
      });
    });
}

function addDeleteRequest(parent: Command, world: World): void {
  parent
    .command('delete-request')
    .summary('cancel a request that goes on, delete one that has ended')
    .description(
      'Cancels a request that goes on; deletes one that has ended, with its log and its artifacts.',
    )
    .addArgument(requestArgument())
    .option('-y, --yes', 'do not ask')
    .addHelpText(
      'after',
      examples('vmo delete-request 0199a3f2-77b1', 'vmo delete-request 0199a3f2-77b1 --yes'),
    )
    .action(async (text: string, options: { yes?: boolean }, command: Command) => {
      const cli = cliOf(world, command);
      const { uuid, status } = await findRequest(cli.client(), text);
      const question = isFinal(status)
        ? `Delete request ${uuid} with its log and artifacts, for ever?`
        : `Cancel request ${uuid}, which is ${status}?`;
      await confirm(world, question, options.yes ?? false);
      const answer = await cli.client().call('deleteRequest', { params: { requestId: uuid } });
      await (cli.output === 'json' ? cli.printJson(answer) : cli.print(`${uuid}: ${answer.message}`));
    });
}

function addChanges(parent: Command, world: World): void {
  const changes = [
    { name: 'hold-request', status: 'hold', words: 'put a request aside before it runs' },
    { name: 'release-request', status: 'pending', words: 'let a request run that was put aside' },
  ] as const;
  for (const { name, status, words } of changes) {
    parent
      .command(name)
      .summary(words)
      .description(`${words[0]?.toUpperCase() ?? ''}${words.slice(1)}.`)
      .addArgument(requestArgument())
      .addHelpText('after', examples(`vmo ${name} 0199a3f2-77b1`))
      .action(async (text: string, _options: object, command: Command) => {
        const cli = cliOf(world, command);
        const { uuid } = await findRequest(cli.client(), text);
        await printAnswer(
          cli,
          await cli.client().call('changeRequestStatus', { params: { requestId: uuid }, body: { status } }),
        );
      });
  }
  parent
    .command('rerun-request')
    .summary('run the same again, as a new request')
    .description('Runs the same again, as a new request, and prints its uuid.')
    .addArgument(requestArgument())
    .addHelpText('after', examples('vmo rerun-request 0199a3f2-77b1'))
    .action(async (text: string, _options: object, command: Command) => {
      const cli = cliOf(world, command);
      const { uuid } = await findRequest(cli.client(), text);
      const answer = await cli.client().call('rerunRequest', { params: { requestId: uuid } });
      await (cli.output === 'json' ? cli.printJson(answer) : cli.print(answer.uuid));
    });
}

const printAnswer = (cli: Cli, answer: { uuid: JobId; message: string }): Promise<void> =>
  cli.output === 'json' ? cli.printJson(answer) : cli.print(`${answer.uuid}: ${answer.message}`);

function addArtifacts(parent: Command, world: World): void {
  parent
    .command('artifacts')
    .summary('list or fetch the artifacts of a request')
    .description('Lists what a request has fetched out of its machine, or saves it here.')
    .addArgument(requestArgument())
    .option('--save <directory>', 'save them into this directory')
    .addHelpText('after', examples('vmo artifacts 0199a3f2-77b1 --save ./reports'))
    .action(async (text: string, options: { save?: string }, command: Command) => {
      const cli = cliOf(world, command);
      const request = await findRequest(cli.client(), text);
      if (options.save === undefined) {
        await cli.printList(artifactColumns(), request.artifacts);
        return;
      }
      const saved = await saveArtifacts(cli, request, options.save);
      await cli.print(...saved.flatMap(({ file }) => (file === null ? [] : [file])));
      const missing = saved.filter(({ file }) => file === null);
      if (missing.length === 0) return;
      throw new CliError(
        `${String(missing.length)} of ${String(saved.length)} artifacts are not there`,
        exitCodes.failed,
        {
          hints: missing.map(({ artifact }) => `${artifact.path}: ${artifact.reason ?? 'it is not there'}`),
        },
      );
    });
}

/** Days that are shown one by one. */
const shownDays = 7;

function addStats(parent: Command, world: World): void {
  parent
    .command('stats')
    .summary('how requests have gone')
    .description(
      'Says how the requests of the last days have gone: states, success rate, times in the queue and of boot.',
    )
    .option('-d, --days <number>', 'look at so many, today included', wholeNumber(1, 366), 30)
    .addHelpText('after', examples('vmo stats --days 7'))
    .action(async ({ days }: { days: number }, command: Command) => {
      const cli = cliOf(world, command);
      const statistics = await cli.client().call('getRequestStatistics', { query: { days } });
      const { all } = statistics;
      const rate = successRate(all);
      await cli.printFacts(
        [
          ['requests', String(total(all))],
          ['states', stateWords(cli, all)],
          ['success rate', rate === null ? null : `${(rate * 100).toFixed(1)} %`],
          ['queue', timeWords(all.queue_ms)],
          ['boot', timeWords(all.boot_ms)],
          ['logs', bytesWords(all.log_bytes)],
          ...statistics.days
            .toSorted((a, b) => b.day.localeCompare(a.day))
            .slice(0, shownDays)
            .map((day): [string, string] => [
              day.day,
              `${String(total(day))} requests: ${stateWords(cli, day)}`,
            ]),
        ],
        { success_rate: rate, ...statistics },
      );
    });
}

const total = ({ counts }: RequestFigures) => Object.values(counts).reduce((sum, count) => sum + count, 0);

const stateWords = (cli: Cli, { counts }: RequestFigures) =>
  JobStatus.options
    .filter((status) => counts[status] > 0)
    .map((status) => `${String(counts[status])} ${cli.paint.status(status)}`)
    .join(', ');

const timeWords = (values: RequestFigures['queue_ms']) =>
  values && `median ${durationWords(values.p50)}, 95 % ${durationWords(values.p95)}`;
