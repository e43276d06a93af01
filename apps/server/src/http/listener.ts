import { createServer as createHttpServer, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { isIPv4 } from 'node:net';

/** Answers that are under way at the stop, as a download, get this long. */
const closeGraceMs = 1_500;
/** An image of 50 GB over 20 Mbit/s, in one piece. Heads have Node's own limit of a minute. */
const requestTimeoutMs = 6 * 3_600_000;

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
}

export const isLoopback = (host: string) =>
  host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'));

function createPlainOrTls(tls: ListenerOptions['tls']): Server {
  const options = { requestTimeout: requestTimeoutMs };
  if (!tls) return createHttpServer(options);
  try {
    return createHttpsServer({ ...tls, ...options });
  } catch (cause) {
    throw new Error('VMO_TLS_CERT and VMO_TLS_KEY are not a certificate and its key in PEM form', { cause });
  }
}

export function createListener({ host, port, tls }: ListenerOptions): Listener {
  const server = createPlainOrTls(tls);
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
