import { isFinal, RequestChannel, type Job, type JobId, type SimulationRequest } from '@vmo/contract';
import { Option, type Command } from 'commander';
import { cliOf, requireNoCsv, type Cli } from '../cli.ts';
import { exitCodes, CliError, waitCodes } from '../exit-codes.ts';
import { asWaitError, waitForJobs } from '../follow/run.ts';
import {
  allButStdout,
  createJsonSink,
  createLineSink,
  createStreamSink,
  onlyStreams,
  type Sink,
} from '../follow/sinks.ts';
import { collect, seconds, size, wholeNumber } from '../options.ts';
import { createProgress, type Progress } from '../output/progress.ts';
import { shortId } from '../resolve.ts';
import { saveArtifacts } from '../requests/artifacts.ts';
import { loginPasswordVariable, toRequest, type SubmitOptions } from '../requests/submission.ts';
import type { World } from '../world.ts';
import { chosenStreams, patienceOption } from './jobs.ts';
import { submitOnce } from './run.ts';

interface WaitingOptions extends SubmitOptions {
  wait?: boolean;
  show?: ('boot' | 'command' | 'system')[];
  saveArtifacts?: string;
  cancelOnInterrupt?: boolean;
  patience: number;
}

interface Submitted {
  uuid: JobId;
  name: string;
}

export function addSubmitCommand(parent: Command, world: World, setExitCode: (code: number) => void): void {
  parent
    .command('submit')
    .summary('boot a machine, run commands in it, keep the output')
    .description(
      'Submits a simulation request: a throw-away copy of the machine is booted, the commands run in it one after another, and all output is kept. With --wait, shows what they write to stdout and stderr, and ends with the exit code of the first that failed: made for CI.\n\nOne argument is given to the shell of the guest as it is; several are kept apart. Several machines, separated by commas, are a matrix: a request for each.',
    )
    .argument('<vms>', 'a template, an image or a stopped machine; several as a,b,c')
    .argument('[command...]', 'what to run, after --')
    .option(
      '-c, --command <command>',
      'a command more; again for several, each with its own exit code',
      collect,
    )
    .option('-w, --wait', 'show the output, wait for the end and end with its exit code')
    .option('--timeout <time>', 'from the start of the machine to its end, as 90s or 5m; default 5m', seconds)
    .option('-e, --env <name=value>', 'a variable, or NAME for the one that is here; again for more', collect)
    .option('--file <here:/there>', 'put a file into the guest first; again for more', collect)
    .option('--artifact </path>', 'fetch a file or folder afterwards; again for more', collect)
    .option('--save-artifacts <directory>', 'with --wait: where to put them', 'artifacts')
    .option('-l, --label <name=value>', 'for finding it again; again for more', collect)
    .option('--priority <number>', '-100 to 100, the higher runs first', signedNumber)
    .option('--warm', 'go on from where such a machine was ready before, rather than boot')
    .option('--keep-on-failure', 'keep the disk of the machine for a time when it fails')
    .option('--keep-going', 'run the other commands also after one that failed')
    .option(
      '--retry <times>',
      'after a fault of ours, as a lost agent; never after a failed command',
      wholeNumber(0, 5),
    )
    .option(
      '--login <user[:password]>',
      `whom commands are brought in as, over SSH or at the serial console; the password is better in ${loginPasswordVariable}`,
    )
    .addOption(
      new Option('--channel <channel>', 'how they are brought in; default: the best that answers').choices(
        RequestChannel.options,
      ),
    )
    .option('--cpus <number>', 'default: as the machine has', wholeNumber(1, 256))
    .option('--memory <size>', 'as 512M or 4G; default: as the machine has', size)
    .option('--hold', 'do not run it before it is released')
    .option('--idempotency-key <key>', 'the same key again gives the first request')
    .addOption(
      new Option('--show <kinds...>', 'with --wait, also on stderr').choices(['boot', 'command', 'system']),
    )
    .option('--cancel-on-interrupt', 'where there is no terminal, cancel it when we are ended')
    .addOption(patienceOption())
    .addHelpText(
      'after',
      `
Ctrl-C of --wait asks whether to cancel the request; once more leaves it running.
Exit codes with --wait: that of the first command that failed; 124 time limit,
125 no exit code, 130 cancelled. Of a matrix: of the first request that failed.

Examples:
  vmo submit debian-13 -- uname -a
  vmo submit debian-13 --wait --timeout 10m --file test.sh:/root/test.sh -- sh /root/test.sh
  vmo submit debian-13,alpine --wait --label build="$CI_JOB_ID" -- 'make check 2>&1'
  VMO_LOGIN_PASSWORD=secret vmo submit my-image --wait --channel serial --login root -- uname -a
  vmo submit debian-13 --wait -c ./configure -c make --artifact /root/build.log`,
    )
    .action(async (vms: string, words: readonly string[], options: WaitingOptions, command: Command) => {
      const cli = cliOf(world, command);
      const names = vms.split(',').filter((name) => name !== '');
      if (names.length === 0) throw new CliError('give the name of a machine', exitCodes.usage);
      if (!options.wait) {
        await submitOnly(cli, names, words, options);
        return;
      }
      try {
        requireNoCsv(cli);
        setExitCode(await submitAndWait(cli, names, words, options));
      } catch (error) {
        throw asWaitError(error);
      }
    });
}

function signedNumber(text: string): number {
  return text.startsWith('-') ? -wholeNumber(0, 100)(text.slice(1)) : wholeNumber(0, 100)(text);
}

/** One request, or a matrix. @returns what the server answered, and each request of it */
async function submit(
  cli: Cli,
  names: readonly string[],
  words: readonly string[],
  options: SubmitOptions,
): Promise<{ answer: unknown; submitted: Submitted[] }> {
  const client = cli.client();
  const { commands, ...rest } = await toRequest(cli, words, options);
  const [name, another] = names;
  if (name !== undefined && another === undefined) {
    const body = { vm_name: name, commands, ...rest };
    const answer = await submitOnce(() => client.call('submitRequest', { body }));
    return { answer, submitted: [{ uuid: answer.uuid, name }] };
  }
  const body = { vm_names: [...names], commands: [commands], ...rest };
  const answer = await submitOnce(() => client.call('submitBatch', { body }));
  return { answer, submitted: answer.requests.map(({ uuid, vm_name }) => ({ uuid, name: vm_name })) };
}

async function submitOnly(
  cli: Cli,
  names: readonly string[],
  words: readonly string[],
  options: SubmitOptions,
): Promise<void> {
  const { answer, submitted } = await submit(cli, names, words, options);
  if (cli.output === 'json') await cli.printJson(answer);
  else if (cli.output === 'csv') {
    await cli.printList<Submitted>(
      [
        { title: 'uuid', value: ({ uuid }) => uuid },
        { title: 'vm', value: ({ name }) => name },
      ],
      submitted,
    );
  } else
    await cli.print(
      ...submitted.map(({ uuid, name }) => (submitted.length === 1 ? uuid : `${uuid}  ${name}`)),
    );
}

async function submitAndWait(
  cli: Cli,
  names: readonly string[],
  words: readonly string[],
  options: WaitingOptions,
): Promise<number> {
  const { submitted } = await submit(cli, names, words, options);
  const progress = createProgress(cli);
  const width = Math.max(...submitted.map(({ name }) => name.length));
  const prefix = ({ name }: Submitted) => `${cli.paint.dim(`${name.padEnd(width)} |`)} `;
  if (!cli.world.stderr.isTTY) {
    for (const { uuid, name } of submitted) cli.note(`vmo: request ${uuid} for ${name}`);
  }
  const awaited = submitted.map((one) => {
    const sink = sinkOf(cli, one.uuid, submitted.length > 1 ? prefix(one) : null);
    return { jobId: one.uuid, sink: endingProgress(onlyShown(sink, options.show ?? []), progress) };
  });
  try {
    await waitForJobs(cli, awaited, {
      thing: 'request',
      hints: (id) => [`To see it: vmo show-logs ${id} --follow`, `To cancel it: vmo delete-request ${id}`],
      cancelOnInterrupt: options.cancelOnInterrupt ?? false,
      patience: options.patience,
      onStatus: (job) => sayStage(progress, job),
      onAsk: progress.end,
    });
  } finally {
    progress.end();
  }
  const codes: number[] = [];
  for (const { uuid, name } of submitted) {
    const request = await cli.client().call('getRequest', { params: { requestId: uuid } });
    await tellEnd(cli, request, submitted.length > 1 ? `${name}: ` : '');
    await fetchArtifacts(cli, request, options.saveArtifacts ?? 'artifacts', submitted.length > 1);
    codes.push(codeOf(request));
  }
  return codes.find((code) => code !== 0) ?? 0;
}

function sinkOf(cli: Cli, jobId: JobId, prefix: string | null): Sink {
  const { stdout, stderr } = cli.world;
  const outputs = { stdout, stderr };
  if (cli.output !== 'table') return createJsonSink(stdout);
  if (prefix !== null) return createLineSink(outputs, () => prefix, allButStdout);
  return createStreamSink({ client: cli.client(), jobId, outputs }, true, allButStdout);
}

function onlyShown(sink: Sink, show: NonNullable<WaitingOptions['show']>): Sink {
  return onlyStreams(sink, new Set(chosenStreams(['stdout', 'stderr', ...show])));
}

/** The first output takes the place of the line of progress. */
function endingProgress(sink: Sink, progress: Progress): Sink {
  return {
    take: (events) => {
      if (events.length > 0) progress.end();
      return sink.take(events);
    },
    finish: sink.finish,
  };
}

function sayStage(progress: Progress, { id, status }: Job): void {
  if (isFinal(status)) return;
  const stages = {
    pending: 'waits for its turn',
    hold: 'is on hold',
    acknowledged: 'is taken',
    running: 'runs',
  };
  const stage = status in stages ? stages[status as keyof typeof stages] : status;
  progress.say(`request ${shortId(id)} ${stage}`);
}

/** What the shell is told. */
function codeOf({ status, exit_code: code }: SimulationRequest): number {
  if (status === 'timed_out') return waitCodes.timedOut;
  if (status === 'cancelled') return waitCodes.cancelled;
  if (status === 'done') return code ?? 0;
  return status === 'failed' && code !== null && code !== 0 ? code : waitCodes.none;
}

async function tellEnd(cli: Cli, request: SimulationRequest, prefix: string): Promise<void> {
  const { status, message, results, uuid } = request;
  const failed = results.filter((result) => result.status === 'failed');
  // Which of several it was; of one, its exit code says all.
  if (results.length > 1) {
    for (const { index, command, exit_code: code } of failed) {
      cli.note(
        cli.errorPaint.bad(
          `vmo: ${prefix}command ${String(index + 1)} failed with ${String(code ?? 'no exit code')}: ${command}`,
        ),
      );
    }
  }
  if (status === 'done' || (status === 'failed' && failed.length > 0)) return;
  cli.note(
    cli.errorPaint.bad(`vmo: ${prefix}the request is ${status}${message === null ? '' : `: ${message}`}`),
  );
  cli.note(`To see how its machine booted: vmo show-logs ${uuid} --log-type boot`);
}

async function fetchArtifacts(
  cli: Cli,
  request: SimulationRequest,
  directory: string,
  isMatrix: boolean,
): Promise<void> {
  const target = isMatrix ? `${directory}/${request.vm_name}` : directory;
  for (const { artifact, file } of await saveArtifacts(cli, request, target)) {
    cli.note(
      file === null
        ? cli.errorPaint.warn(`vmo: no artifact ${artifact.path}: ${artifact.reason ?? 'it is not there'}`)
        : cli.errorPaint.dim(`vmo: ${artifact.path} is in ${file}`),
    );
  }
}
