import { QmpProtocolError } from './errors.ts';
import { shorten } from './protocol.ts';

export interface QmpVersion {
  major: number;
  minor: number;
  micro: number;
  /** What the distribution calls it: `Debian 1:7.2+dfsg-7`; often empty. */
  package: string;
}

export interface QmpGreeting {
  version: QmpVersion;
  /** What may be switched on by qmp_capabilities: `oob`. */
  capabilities: string[];
}

/** Something that happened in QEMU, told once: who was not connected never hears of it. */
export interface QmpEvent {
  event: string;
  data: Readonly<Record<string, unknown>>;
  /** Milliseconds since 1970 with fractions, by the clock of QEMU's host; null when that could not tell. */
  at: number | null;
}

export type QmpMessage =
  | { kind: 'greeting'; greeting: QmpGreeting }
  | { kind: 'return'; id: string | null; value: unknown }
  | { kind: 'error'; id: string | null; class: string; desc: string }
  | { kind: 'event'; event: QmpEvent };

/**
 * Reads one line of a monitor (QMP specification, section 2). An `id` comes back as it was sent; one that is no string
 * is none of ours, and is told as its JSON.
 * @throws QmpProtocolError that names what came
 */
export function parseMessage(line: string): QmpMessage {
  let message: unknown;
  try {
    message = JSON.parse(line);
  } catch {
    throw new QmpProtocolError(`what came is not JSON: ${shorten(line)}`);
  }
  const found = isRecord(message) ? recognise(message) : null;
  if (!found) throw new QmpProtocolError(`what came is not a message of QMP: ${shorten(line)}`);
  return found;
}

function recognise(message: Record<string, unknown>): QmpMessage | null {
  // By own members: what `{"__proto__": …}` or a missing member would inherit is no part of the message.
  const has = (name: string) => Object.hasOwn(message, name);
  const own = typeof message.id === 'string' ? message.id : JSON.stringify(message.id);
  const id = has('id') ? own : null;
  if (has('event')) return asEvent(message);
  if (has('return')) return { kind: 'return', id, value: message.return };
  if (has('error')) {
    const { error } = message;
    if (!isRecord(error) || typeof error.class !== 'string' || typeof error.desc !== 'string') return null;
    return { kind: 'error', id, class: error.class, desc: error.desc };
  }
  return has('QMP') ? asGreeting(message.QMP) : null;
}

function asEvent({ event, data = {}, timestamp }: Record<string, unknown>): QmpMessage | null {
  if (typeof event !== 'string' || !isRecord(data) || !isRecord(timestamp)) return null;
  const { seconds, microseconds } = timestamp;
  if (typeof seconds !== 'number' || typeof microseconds !== 'number') return null;
  // Both are -1 when QEMU's host could not tell the time.
  const at = seconds < 0 ? null : seconds * 1000 + microseconds / 1000;
  return { kind: 'event', event: { event, data, at } };
}

function asGreeting(greeting: unknown): QmpMessage | null {
  if (!isRecord(greeting) || !isRecord(greeting.version)) return null;
  const { qemu, package: packageName } = greeting.version;
  const { capabilities } = greeting;
  if (!isRecord(qemu) || typeof packageName !== 'string' || !Array.isArray(capabilities)) return null;
  const { major, minor, micro } = qemu;
  if (typeof major !== 'number' || typeof minor !== 'number' || typeof micro !== 'number') return null;
  return {
    kind: 'greeting',
    greeting: {
      version: { major, minor, micro, package: packageName },
      capabilities: capabilities.filter((name) => typeof name === 'string'),
    },
  };
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
