/**
 * How much may wait in the server for one socket, besides the batch that the kernel is taking. The bytes of a
 * sleeping browser are at most twice this: one batch under way, one behind it.
 */
const maxQueuedBytes = 64 * 1024;

/** The part of an engine.io connection that tells how fast its reader reads. */
export interface EngineConnection {
  readonly transport: { readonly writable: boolean };
  on(event: 'drain', listener: () => void): unknown;
  off(event: 'drain', listener: () => void): unknown;
}

/**
 * The way out to one socket. engine.io hands everything queued to the transport as one batch, emits `drain`, and
 * hands over the next when the kernel has taken that batch; so what was sent since the last `drain` is what waits.
 */
export class Outlet {
  #queued = 0;
  readonly #connection: EngineConnection;
  readonly #waiting = new Set<() => void>();
  readonly #onDrain = () => {
    this.#queued = 0;
    // Not from within engine.io's flush: what is sent there would be sent recursively.
    setImmediate(() => {
      for (const wake of [...this.#waiting]) if (this.isOpen) wake();
    });
  };

  constructor(connection: EngineConnection) {
    this.#connection = connection;
    connection.on('drain', this.#onDrain);
  }

  /** Bytes that may be sent now; what is sent at once may be more. 0: `onOpen` listeners hear when it is more again. */
  get room(): number {
    return this.#connection.transport.writable ? maxQueuedBytes : Math.max(maxQueuedBytes - this.#queued, 0);
  }

  get isOpen(): boolean {
    return this.room > 0;
  }

  /** To be called with the size of everything that is sent, before it is sent. */
  account(bytes: number): void {
    this.#queued += bytes;
  }

  onOpen(wake: () => void): () => void {
    this.#waiting.add(wake);
    return () => this.#waiting.delete(wake);
  }

  close(): void {
    this.#connection.off('drain', this.#onDrain);
    this.#waiting.clear();
  }
}
