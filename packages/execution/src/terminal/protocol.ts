import { z } from 'zod';

/**
 * What the terminal host and its clients say to each other, over a Unix socket that only their user can open: one JSON
 * value per line. The host begins with a hello. A client sends requests with an id of its own; each is answered once,
 * with that id, not always in order (`screen` waits until everything read so far is drawn). Besides, the host tells
 * everybody when a terminal has ended, after its exit record was written.
 */
export const protocolVersion = 1;

/** A request; the largest is `start` with its environment. Longer lines end the connection. */
export const maxRequestBytes = 8 * 1024 * 1024;
/** An answer; the largest is a screen with its scrollback. */
export const maxAnswerBytes = 128 * 1024 * 1024;

const jobId = z.string().min(1).max(200);
const size = z.int().min(2).max(1000);

export const Request = z.discriminatedUnion('request', [
  z.strictObject({
    request: z.literal('start'),
    jobId,
    /** The run directory. */
    directory: z.string().startsWith('/'),
    command: z.string(),
    cwd: z.string().startsWith('/'),
    /** The whole environment. */
    env: z.record(z.string(), z.string()),
    cols: size,
    rows: size,
    cgroup: z.string().nullable(),
  }),
  z.strictObject({ request: z.literal('input'), jobId, data: z.string() }),
  z.strictObject({ request: z.literal('resize'), jobId, cols: size, rows: size }),
  z.strictObject({ request: z.literal('screen'), jobId }),
  /** Whether this client has a terminal in control that answers the program's queries (cursor position and the like). */
  z.strictObject({ request: z.literal('control'), jobId, controlled: z.boolean() }),
  z.strictObject({ request: z.literal('list') }),
]);
export type Request = z.infer<typeof Request>;
export type StartRequest = Extract<Request, { request: 'start' }>;

export const Numbered = z.looseObject({ id: z.int().min(0) });

/**
 * begun: somebody has claimed the beginning of this run · directory: the working directory cannot be used · fork: no
 * pty or process to be had · unknown: no such terminal · full: the program does not read its input · invalid: the
 * request makes no sense · internal: the host failed at it
 */
export const FailureCode = z.enum(['begun', 'directory', 'fork', 'unknown', 'full', 'invalid', 'internal']);
export type FailureCode = z.infer<typeof FailureCode>;

/** The screen of a terminal, and where its stdout goes on after it. */
export const ScreenAnswer = z.object({
  data: z.string(),
  cols: z.int(),
  rows: z.int(),
  /** Bytes of stdout that are drawn: the end of a character, and of an escape sequence. */
  offset: z.int(),
  /** The run directory. */
  directory: z.string(),
});
export type ScreenAnswer = z.infer<typeof ScreenAnswer>;

export const ListAnswer = z.object({
  terminals: z.array(
    z.object({ jobId: z.string(), pid: z.int(), cols: z.int(), rows: z.int(), directory: z.string() }),
  ),
});
export type ListAnswer = z.infer<typeof ListAnswer>;

export const StartAnswer = z.object({ pid: z.int(), startedAt: z.iso.datetime() });
export type StartAnswer = z.infer<typeof StartAnswer>;

/** What the host says. */
export const HostMessage = z.union([
  z.object({ hello: z.object({ version: z.int(), pid: z.int() }) }),
  z.object({ event: z.literal('ended'), jobId: z.string() }),
  z.object({ id: z.int(), ok: z.literal(true), answer: z.unknown() }),
  z.object({ id: z.int().nullable(), ok: z.literal(false), code: FailureCode, message: z.string() }),
]);
export type HostMessage = z.infer<typeof HostMessage>;

/** A request that was refused. */
export class RequestError extends Error {
  readonly code: FailureCode;

  constructor(code: FailureCode, message: string) {
    super(message);
    this.name = 'RequestError';
    this.code = code;
  }
}

export const encodeLine = (value: unknown): string => `${JSON.stringify(value)}\n`;

/**
 * Cuts a stream of bytes into lines.
 * @returns takes bytes; false when a line is longer than `maxBytes`: what comes after it cannot be understood
 */
export function createLineReader(
  maxBytes: number,
  onLine: (line: string) => void,
): (bytes: Buffer) => boolean {
  let parts: Buffer[] = [];
  let held = 0;
  return (bytes) => {
    let rest = bytes;
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
      if (held + end > maxBytes) return false;
      const line = Buffer.concat([...parts, rest.subarray(0, end)]).toString('utf8');
      parts = [];
      held = 0;
      rest = rest.subarray(end + 1);
      onLine(line);
    }
    parts.push(rest);
    held += rest.length;
    return held <= maxBytes;
  };
}
