import { createConnection, type Socket } from 'node:net';
import { wordsOf } from './errors.ts';
import {
  createLineReader,
  encodeLine,
  HostMessage,
  maxAnswerBytes,
  maxRequestBytes,
  protocolVersion,
  RequestError,
  type Request,
} from './protocol.ts';

/** The connection to the terminal host broke, or there was none: whether a request was carried out is unknown. */
export class HostGoneError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'HostGoneError';
  }
}

/** One connection to a terminal host. */
export interface HostClient {
  readonly hostPid: number;
  /**
   * @returns the answer, to be parsed by who knows what was asked
   * @throws RequestError when the host refuses
   * @throws HostGoneError
   */
  request(request: Request): Promise<unknown>;
  readonly closed: Promise<void>;
  close(): void;
}

/**
 * Connects to the host that listens on `socketPath`, and waits for its hello.
 * @param onEnded told of every terminal that has ended
 * @throws HostGoneError when nobody listens there
 */
export function connectToHost(socketPath: string, onEnded: (jobId: string) => void): Promise<HostClient> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(socketPath);
    const pending = new Map<
      number | null,
      { resolve: (answer: unknown) => void; reject: (error: Error) => void }
    >();
    let lastId = 0;
    let reason = 'the terminal host closed the connection';
    const closed = new Promise<void>((settle) => {
      socket.once('close', () => {
        const error = new HostGoneError(reason);
        reject(error);
        for (const waiting of pending.values()) waiting.reject(error);
        pending.clear();
        settle();
      });
    });
    socket.on('error', (error) => {
      reason = `the terminal host cannot be reached: ${error.message}`;
    });

    function receive(message: HostMessage): void {
      if ('hello' in message) {
        const { version, pid } = message.hello;
        if (version === protocolVersion)
          resolve({ hostPid: pid, request, closed, close: () => socket.destroy() });
        else socket.destroy(new Error(`it speaks version ${String(version)} of the protocol`));
        return;
      }
      if ('event' in message) {
        onEnded(message.jobId);
        return;
      }
      const waiting = pending.get(message.id);
      if (!waiting) return;
      pending.delete(message.id);
      if (message.ok) waiting.resolve(message.answer);
      else waiting.reject(new RequestError(message.code, message.message));
    }

    function request(what: Request): Promise<unknown> {
      const id = ++lastId;
      const line = encodeLine({ id, ...what });
      if (Buffer.byteLength(line) > maxRequestBytes)
        return Promise.reject(
          new RequestError('invalid', 'command and environment are larger than a program may get'),
        );
      return new Promise((settle, fail) => {
        if (socket.destroyed) {
          fail(new HostGoneError(reason));
          return;
        }
        pending.set(id, { resolve: settle, reject: fail });
        socket.write(line);
      });
    }

    readLines(socket, receive);
  });
}

function readLines(socket: Socket, onMessage: (message: HostMessage) => void): void {
  const read = createLineReader(maxAnswerBytes, (line) => {
    onMessage(HostMessage.parse(JSON.parse(line)));
  });
  socket.on('data', (bytes) => {
    try {
      if (!read(bytes)) throw new Error('its answer is too long');
    } catch (error) {
      socket.destroy(new Error(wordsOf(error)));
    }
  });
}
