import { createServer as createHttpServer, type IncomingMessage, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { isIPv4, type Socket } from 'node:net';

/** Answers that are under way at the stop, as a download, get this long. */
const closeGraceMs = 1_500;
/** Until a request is there, with its body. Heads have Node's own limit of a minute. */
const requestMs = 120_000;
/** An image of 50 GB over 20 Mbit/s, in one piece. */
const longRequestMs = 6 * 3_600_000;

/** Connections whose request may take long to come. */
const longRequests = new WeakSet<Socket>();

/** For the few routes whose body is large: it may come for hours, and then is cut off as well. */
export function allowLongBody(request: IncomingMessage): void {
  const { socket } = request;
  longRequests.add(socket);
  const cut = setTimeout(() => request.destroy(), longRequestMs).unref();
  request.once('close', () => {
    clearTimeout(cut);
    longRequests.delete(socket);
  });
}

const listenProblems: Readonly<Record<string, string>> = {
  EADDRINUSE: 'the port is in use: stop the other program, or set VMO_PORT to another',
  EACCES: 'the port may not be used by this account: set VMO_PORT to one above 1023',
  EADDRNOTAVAIL: 'this machine does not have the address: set VMO_HOST to one of its own',
  ENOTFOUND: 'the name is unknown: set VMO_HOST to an address of this machine',
};

export interface Listener {
  server: Server;
  /** The real one, after listening. */
  port: () => number;
  listen(): Promise<void>;
  close(): Promise<void>;
}

export interface ListenerOptions {
  host: string;
  port: number;
  tls: { cert: Buffer; key: Buffer } | null;
  /** How long a request may take to come, and how often that is looked at; for tests. */
  patience?: { requestMs: number; lookEveryMs: number };
}

export const isLoopback = (host: string) =>
  host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'));

function createPlainOrTls({ tls, patience }: ListenerOptions): Server {
  const options = {
    requestTimeout: patience?.requestMs ?? requestMs,
    ...(patience && { connectionsCheckingInterval: patience.lookEveryMs }),
  };
  if (!tls) return createHttpServer(options);
  try {
    return createHttpsServer({ ...tls, ...options });
  } catch (cause) {
    throw new Error('VMO_TLS_CERT and VMO_TLS_KEY are not a certificate and its key in PEM form', { cause });
  }
}

const brokenStatus: Readonly<Record<string, string>> = {
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: '413 Payload Too Large',
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
};

/** Answers as Node does by itself as long as nobody listens; we do, since its limit of time is one for all routes. */
function answerBroken(server: Server): void {
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT' && longRequests.has(socket)) return;
    // Behind an answer, or in the middle of one, these bytes would be taken for a part of it.
    if (!socket.writable || socket.bytesWritten > 0) {
      socket.destroy();
      return;
    }
    const status = brokenStatus[error.code ?? ''] ?? '400 Bad Request';
    socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\n\r\n`, () => {
      socket.destroy();
    });
  });
}

export function createListener(options: ListenerOptions): Listener {
  const { host, port } = options;
  const server = createPlainOrTls(options);
  answerBroken(server);
  return {
    server,
    port: () => {
      const address = server.address();
      return address !== null && typeof address === 'object' ? address.port : port;
    },
    listen: () =>
      new Promise((resolve, reject) => {
        server.once('error', (error: NodeJS.ErrnoException) => {
          const problem = listenProblems[error.code ?? ''] ?? error.message;
          reject(new Error(`cannot listen on ${host}:${String(port)}: ${problem}`, { cause: error }));
        });
        server.listen(port, host, resolve);
      }),
    close: () =>
      new Promise((resolve) => {
        if (!server.listening) {
          resolve();
          return;
        }
        const cut = setTimeout(() => {
          server.closeAllConnections();
        }, closeGraceMs);
        server.close(() => {
          clearTimeout(cut);
          resolve();
        });
      }),
  };
}
