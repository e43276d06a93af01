import { DriverError } from '../driver.ts';
import type { Execute } from '../qmp/command.ts';
import { QmpClosedError, QmpError, QmpTimeoutError } from '../qmp/errors.ts';
import type { QmpEvent } from '../qmp/messages.ts';

/** What the actions on a machine need of it: its monitor, in the words of the driver. */
export interface Talk {
  readonly id: string;
  /** @throws DriverError refused · silent · gone */
  readonly execute: Execute;
  /**
   * Begins to listen at once, so that it is called before what causes the event.
   * @returns what `pick` found; null: nothing in time
   */
  waitFor<T>(pick: (event: QmpEvent) => T | null, timeoutMs: number): Promise<T | null>;
}

/** @param isGone whether the process has ended */
export function toDriverError(error: unknown, isGone: boolean): unknown {
  const options = { cause: error };
  if (error instanceof QmpError) return new DriverError('refused', `QEMU refused: ${error.desc}`, options);
  const ours = error instanceof QmpTimeoutError || error instanceof QmpClosedError;
  if (!ours) return error;
  if (isGone) return new DriverError('gone', 'the machine has ended', options);
  return new DriverError('silent', `QEMU does not answer: ${error.message}`, options);
}

/** One action at a time, in the order of the calls. */
export function createTurns(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const mine = last.then(work, work);
    last = mine.catch(() => undefined);
    return mine;
  };
}
