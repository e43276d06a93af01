import { ask } from '../ask.ts';
import type { Cli } from '../cli.ts';
import { CliError, exitCodes } from '../exit-codes.ts';
import { isAttended } from '../world.ts';

export interface Interrupts {
  /** Waited for before anything is written. */
  gate(): Promise<void>;
  /** Rejects when the person or the system wants us to leave; never resolves. */
  readonly left: Promise<never>;
  stop(): void;
}

export interface InterruptOptions {
  /** What is waited for, as “job 0199…”. */
  what: string;
  cancel: () => Promise<unknown>;
  /** How to look after it from elsewhere. */
  hints: readonly string[];
  /** Before a question: progress must not be drawn over it. */
  onAsk?: (() => void) | undefined;
  /** Without a terminal: cancel instead of leaving. */
  cancelOnInterrupt: boolean;
}

/**
 * What Ctrl-C and SIGTERM do while something is waited for. On a terminal, Ctrl-C asks whether to cancel, and a second
 * one leaves. Elsewhere they leave, and what was begun goes on, unless it is to be cancelled; then its end is waited
 * for, and a second signal leaves.
 */
export function createInterrupts(cli: Cli, options: InterruptOptions): Interrupts {
  let open = (): void => undefined;
  let isAsking = false;
  let isCancelling = false;
  let gate: Promise<void> | null = null;
  let leave: (error: Error) => void = () => undefined;
  const left = new Promise<never>((_, reject) => {
    leave = reject;
  });
  // Whoever has stopped waiting does not care any more.
  left.catch(() => undefined);

  function goAway(signal: NodeJS.Signals): void {
    const code = signal === 'SIGINT' ? exitCodes.interrupted : exitCodes.terminated;
    const words = isCancelling ? `${options.what} is being cancelled` : `${options.what} goes on without us`;
    leave(new CliError(words, code, { hints: options.hints }));
  }

  function cancel(): void {
    isCancelling = true;
    cli.note(
      cli.errorPaint.warn(`vmo: cancelling ${options.what} and waiting for its end; once more to leave`),
    );
    options
      .cancel()
      .catch((error: unknown) => leave(error instanceof Error ? error : new Error(String(error))));
  }

  async function askWhatToDo(): Promise<void> {
    isAsking = true;
    options.onAsk?.();
    gate = new Promise((resolve) => {
      open = resolve;
    });
    cli.note('');
    const answer = await ask(
      cli.world,
      `vmo: cancel ${options.what}? y: cancel, n: go on watching, Ctrl-C: leave it running [y/n] `,
    );
    isAsking = false;
    if (answer === null) goAway('SIGINT');
    else if (answer === 'y' || answer === 'yes') cancel();
    gate = null;
    open();
  }

  const stop = cli.world.onSignal((signal) => {
    if (isCancelling) goAway(signal);
    else if (signal === 'SIGINT' && isAttended(cli.world)) {
      if (!isAsking) void askWhatToDo();
    } else if (options.cancelOnInterrupt) cancel();
    else goAway(signal);
  });

  return {
    gate: () => gate ?? Promise.resolve(),
    left,
    stop,
  };
}
