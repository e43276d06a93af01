import type { QmpEvent } from './messages.ts';
import type { QmpCommands, QmpEvents } from './schema.generated.ts';

export type QmpArguments<C extends keyof QmpCommands> = QmpCommands[C]['arguments'];
export type QmpReturn<C extends keyof QmpCommands> = QmpCommands[C]['returns'];

export interface ExecuteOptions {
  /** Infinity: waits as long as the connection lives. */
  timeoutMs?: number;
}

/** Arguments may be left out where none of them is required. */
export type ExecuteRest<C extends keyof QmpCommands> =
  Record<string, never> extends QmpArguments<C>
    ? [args?: QmpArguments<C>, options?: ExecuteOptions]
    : [args: QmpArguments<C>, options?: ExecuteOptions];

/**
 * Runs a command.
 * @returns what QEMU answers. Its shape is not checked, but what the types tell: a QEMU of another version may answer more
 * @throws QmpError refused · QmpTimeoutError no answer in time · QmpClosedError the connection is over
 */
export type Execute = <C extends keyof QmpCommands>(
  command: C,
  ...rest: ExecuteRest<C>
) => Promise<QmpReturn<C>>;

export type QmpEventOf<E extends keyof QmpEvents> = Omit<QmpEvent, 'event' | 'data'> & {
  event: E;
  data: QmpEvents[E];
};

/** Narrows an event to one that the product knows; the shape of its data is not checked, but what the types tell. */
export function isQmpEvent<E extends keyof QmpEvents>(
  event: QmpEvent,
  name: E,
): event is QmpEvent & QmpEventOf<E> {
  return event.event === name;
}

/**
 * The line that asks for a command.
 * @throws TypeError when the arguments are no JSON, or hold text that QEMU cannot read: half a surrogate pair or a
 * noncharacter, at which its parser gives up without saying which command it was
 */
export function encodeCommand(id: string, command: string, args: unknown): string {
  const line = JSON.stringify({ execute: command, arguments: args, id });
  // JSON.stringify writes a lone surrogate as \udXXX; in front of it stands an even number of backslashes.
  if (/(?<!\\)(?:\\\\)*\\ud[89a-f]|\p{Noncharacter_Code_Point}/u.test(line))
    throw new TypeError(`${command}: the arguments hold text that is not Unicode`);
  return `${line}\n`;
}
