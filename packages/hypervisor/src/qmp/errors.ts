/**
 * Why a connection is over.
 * - `asked`: this side closed it.
 * - `gone`: QEMU closed it, or could not be reached.
 * - `protocol`: what came was not QMP, so nothing that follows can be trusted.
 * - `requery`: of a monitor only: what had to be asked after connecting could not be asked.
 */
export interface QmpCloseReason {
  kind: 'asked' | 'gone' | 'protocol' | 'requery';
  message: string;
}

/** QEMU refused a command. `class` is GenericError for most, DeviceNotFound and CommandNotFound for some. */
export class QmpError extends Error {
  override name = 'QmpError';
  readonly command: string;
  readonly class: string;
  /** QEMU's own words. */
  readonly desc: string;

  constructor(command: string, errorClass: string, desc: string) {
    super(`${command}: ${desc}`);
    this.command = command;
    this.class = errorClass;
    this.desc = desc;
  }
}

/** No answer in time. QEMU may still carry the command out: it has no way to take one back. */
export class QmpTimeoutError extends Error {
  override name = 'QmpTimeoutError';
  /** null: it was the greeting that did not come. */
  readonly command: string | null;
  readonly timeoutMs: number;

  constructor(command: string | null, timeoutMs: number, message?: string) {
    super(message ?? `${command ?? 'the greeting'}: QEMU did not answer within ${timeoutMs} ms`);
    this.command = command;
    this.timeoutMs = timeoutMs;
  }
}

/** There is no connection (any more). A command that was under way may or may not have been carried out. */
export class QmpClosedError extends Error {
  override name = 'QmpClosedError';
  /** null: it was not yet connected. */
  readonly command: string | null;
  readonly reason: QmpCloseReason;

  constructor(command: string | null, reason: QmpCloseReason) {
    super(command === null ? reason.message : `${command}: ${reason.message}`);
    this.command = command;
    this.reason = reason;
  }
}

/** What came is not QMP. Seen from outside as the `protocol` reason of a closed connection. */
export class QmpProtocolError extends Error {
  override name = 'QmpProtocolError';
}

export const wordsOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
