import { StringDecoder } from 'node:string_decoder';
import { lineText } from '@vmo/ansi';
import type { JobsConnection } from '@vmo/client';
import { CodedError, isVmLive, maxInputLength, type JobId } from '@vmo/contract';
import { Option, type Command } from 'commander';
import { cliOf, type Cli } from '../cli.ts';
import { CliError, exitCodes } from '../exit-codes.ts';
import { tellConnection } from '../follow/follow.ts';
import { findVm } from '../resolve.ts';
import { write, type World } from '../world.ts';

/** Ctrl-] as telnet and virsh have it. */
const escapeKey = '\x1d';
/** Lines of the past that are shown first, so that a prompt is there to be seen. */
const pastLines = 20;
/** Never inside a character: each is at most two of the units that the limit counts. */
const piecePattern = new RegExp(`[^]{1,${String(maxInputLength / 2)}}`, 'gu');

interface ConsoleOptions {
  take?: boolean;
  watch?: boolean;
}

export function addConsoleCommand(vm: Command, world: World): void {
  const command = vm
    .command('console')
    .summary('the serial console of a running machine')
    .description(
      'Connects the terminal to the serial console of a running machine. Ctrl-] leaves it; the machine runs on.',
    )
    .argument('<machine>', 'its name, or the beginning of its id')
    .option('--take', 'type, also where somebody else does')
    .addOption(new Option('--watch', 'only look').conflicts('take'))
    .addHelpText(
      'after',
      `
Examples:
  vmo vm console web
Without a terminal, what is read from standard input is typed, and we leave at its end:
  echo 'uname -a' | vmo vm console web`,
    );
  command.action(async (text: string, options: ConsoleOptions) => {
    const cli = cliOf(world, command);
    const vm = await findVm(cli.client(), text);
    if (!isVmLive(vm.status) || vm.jobId === null) {
      throw new CliError(`${vm.name} is ${vm.status}: it has no console now`, exitCodes.conflict, {
        hints: [
          `To start it: vmo vm start ${vm.name}`,
          ...(vm.jobId === null ? [] : [`What its last run said: vmo logs ${vm.jobId}`]),
        ],
      });
    }
    await openConsole(cli, vm.name, vm.jobId, options);
  });
}

async function openConsole(cli: Cli, name: string, jobId: JobId, options: ConsoleOptions): Promise<void> {
  const { stdout } = cli.world;
  if (cli.world.stdin.isTTY) {
    cli.note(cli.errorPaint.dim(`vmo: the console of ${name}; Ctrl-] leaves it, the machine runs on`));
  }
  const afterSeq = await showPast(cli, jobId);
  const connection = cli.connect();
  const stopTelling = tellConnection(cli, connection);
  try {
    await new Promise<void>((resolve, reject) => {
      let isEntered = false;
      let stopTyping = (): void => undefined;
      const end = (act: () => void): void => {
        stopTyping();
        stopState();
        act();
      };
      const stopState = connection.onState(({ phase, error }) => {
        if (phase === 'refused') queueMicrotask(() => end(() => reject(error ?? new Error('refused'))));
      });
      connection.followJob({
        jobId,
        afterSeq,
        // Somebody is here to type. There is no screen of a serial console: its bytes follow, as without.
        screen: true,
        onEvents: async (events) => {
          for (const { stream, chunk } of events) if (stream === 'boot') await write(stdout, chunk);
        },
        onSubscribed: ({ inControl }) => {
          if (options.watch) return;
          if (!inControl && options.take) void take(cli, connection, jobId);
          else if (!inControl) cli.note('\r\nvmo: somebody else types here; --take takes over\r');
          if (isEntered) return;
          isEntered = true;
          stopTyping = typeInto(cli, connection, jobId, () => end(resolve));
        },
        onControl: (inControl) => {
          if (!inControl && !options.watch) cli.note('\r\nvmo: somebody else types here now\r');
        },
        onDone: () =>
          end(() => {
            cli.note(`\r\nvmo: ${name} has stopped`);
            resolve();
          }),
        onError: (error) => end(() => reject(error instanceof Error ? error : new Error(String(error)))),
      });
      if (options.watch) stopTyping = watchForEscape(cli, () => end(resolve));
    });
  } finally {
    stopTelling();
    connection.close();
  }
}

/**
 * The last lines, as text: what an old line once asked of a terminal – its size, its colours – would be answered by
 * ours now, into whatever reads there.
 * @returns the last event that has been shown
 */
async function showPast(cli: Cli, jobId: JobId): Promise<number> {
  const { lines, lastSeq } = await cli
    .client()
    .call('listLines', { params: { jobId }, query: { last: pastLines, streams: 'boot' } });
  for (const { text, open } of lines) await write(cli.world.stdout, `${lineText(text)}${open ? '' : '\r\n'}`);
  return lastSeq;
}

async function take(cli: Cli, connection: JobsConnection, jobId: JobId): Promise<void> {
  try {
    await connection.command('job:take-control', { jobId });
  } catch (error) {
    cli.note(`\r\nvmo: ${error instanceof Error ? error.message : String(error)}\r`);
  }
}

/** Raw keys, so that Ctrl-C and all others reach the guest. @returns the way back */
function rawMode({ stdin }: World): () => void {
  if (!stdin.isTTY) return () => undefined;
  stdin.setRawMode(true);
  return () => stdin.setRawMode(false);
}

/** Sends what is typed, in order. @returns the way to stop */
function typeInto(cli: Cli, connection: JobsConnection, jobId: JobId, onLeave: () => void): () => void {
  const { stdin } = cli.world;
  const decoder = new StringDecoder('utf8');
  let turn: Promise<unknown> = Promise.resolve();
  let isRefused = false;
  const send = (data: string): void => {
    for (const [piece] of data.matchAll(piecePattern)) {
      turn = turn
        .then(() => connection.command('job:input', { jobId, data: piece }))
        .then(
          () => (isRefused = false),
          (error: unknown) => {
            // Once, and not for every key.
            if (!isRefused) cli.note(`\r\nvmo: ${inputTrouble(error)}\r`);
            isRefused = true;
          },
        );
    }
  };
  const onData = (bytes: Buffer): void => {
    const text = decoder.write(bytes);
    const at = stdin.isTTY ? text.indexOf(escapeKey) : -1;
    send(at === -1 ? text : text.slice(0, at));
    // At once: what was typed may wait for a server that is away.
    if (at !== -1) onLeave();
  };
  const onEnd = (): void => void turn.then(onLeave);
  const restore = rawMode(cli.world);
  stdin.on('data', onData).on('end', onEnd);
  return () => {
    stdin.off('data', onData).off('end', onEnd);
    restore();
    stdin.pause();
  };
}

function inputTrouble(error: unknown): string {
  if (error instanceof CodedError && error.code === 'NOT_IN_CONTROL') {
    return 'somebody else types here; leave with Ctrl-] and come again with --take';
  }
  return error instanceof Error ? error.message : String(error);
}

function watchForEscape({ world }: Cli, onLeave: () => void): () => void {
  const { stdin } = world;
  if (!stdin.isTTY) return () => undefined;
  const onData = (bytes: Buffer): void => {
    // Ctrl-C as well: nothing of it goes to the guest here.
    if (bytes.includes(escapeKey) || bytes.includes('\x03')) onLeave();
  };
  const restore = rawMode(world);
  stdin.on('data', onData);
  return () => {
    stdin.off('data', onData);
    restore();
    stdin.pause();
  };
}
