import { STATUS_CODES, type IncomingMessage, type Server as HttpServer } from 'node:http';
import { connect } from 'node:net';
import { pipeline } from 'node:stream/promises';
import type { Duplex } from 'node:stream';
import { CodedError, VmId } from '@vmo/contract';
import { createWebSocketStream, WebSocketServer, type WebSocket } from 'ws';
import { permit, type Auth, type OriginPolicy, type Principal } from '../auth/index.ts';
import { logError, readAddress, readCredentials, toCodedError } from '../http/index.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Vms } from '../vms/index.ts';
import type { Sessions } from './sessions.ts';

const path = /^\/api(?:\/v1)?\/vms\/([^/?]+)\/vnc(?:\?|$)/;
const subprotocol = 'binary';
/** What a browser sends are keys and moves of the mouse, and at times its clipboard. */
const maxMessageBytes = 1024 * 1024;
/** WebSocket's own code for "something went wrong here" (RFC 6455 §7.4.1), and for "goes away". */
const closeCodes = { failed: 1011, away: 1001 };

export interface VncOptions {
  httpServer: HttpServer;
  auth: Auth;
  policy: OriginPolicy;
  vms: Pick<Vms, 'vncSocket'>;
  sessions: Sessions;
  logger: Logger;
  /** Upgrades that somebody else on this server answers. */
  isOthers: (request: IncomingMessage) => boolean;
}

/** The screens of machines: WebSocket outside, the machine's own socket inside, bytes both ways as they are. */
export function createVnc({ httpServer, auth, policy, vms, sessions, logger, isOthers }: VncOptions) {
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: true,
    perMessageDeflate: false,
    maxPayload: maxMessageBytes,
    handleProtocols: (offered) => (offered.has(subprotocol) ? subprotocol : false),
  });

  async function identify(request: IncomingMessage): Promise<Principal> {
    const { origin, host } = request.headers;
    const credentials = readCredentials(request);
    if (origin !== undefined && !(policy.allowsOrigin(origin) && policy.allowsHost(host))) {
      throw new CodedError('ORIGIN_REFUSED', 'pages of this origin may not look at screens');
    }
    if (credentials.bearer === null && credentials.cookie !== null && origin === undefined) {
      throw new CodedError('ORIGIN_REFUSED', 'the session cookie needs an Origin: use the token instead');
    }
    const principal = await auth.identify(credentials, readAddress(request));
    permit(principal, 'vms:console');
    return principal;
  }

  async function accept(request: IncomingMessage, socket: Duplex, head: Buffer, id: string): Promise<void> {
    const principal = await identify(request);
    const vmId = VmId.safeParse(id);
    if (!vmId.success) throw new CodedError('VM_NOT_FOUND', 'there is no machine with this id');
    const screen = await vms.vncSocket(vmId.data);
    server.handleUpgrade(request, socket, head, (webSocket) => {
      void serve(webSocket, screen, principal);
    });
  }

  async function serve(webSocket: WebSocket, screen: string, principal: Principal): Promise<void> {
    const release = sessions.hold({
      principal,
      end: () => {
        webSocket.terminate();
      },
    });
    const outside = createWebSocketStream(webSocket);
    const inside = connect(screen);
    try {
      // Both ways wait for each other's reader, and either end ends both.
      await Promise.race([pipeline(outside, inside), pipeline(inside, outside)]);
    } catch (error) {
      logger.debug({ err: error }, 'a screen was closed');
    } finally {
      release();
      inside.destroy();
      webSocket.close(inside.errored ? closeCodes.failed : closeCodes.away);
      outside.destroy();
    }
  }

  function refuse(socket: Duplex, thrown: unknown): void {
    const error = toCodedError(thrown);
    logError(logger, error, 'screen');
    const body = JSON.stringify({ code: error.code, detail: error.message });
    socket.end(
      [
        `HTTP/1.1 ${String(error.status)} ${STATUS_CODES[error.status] ?? ''}`,
        'Connection: close',
        'Content-Type: application/problem+json',
        `Content-Length: ${String(Buffer.byteLength(body))}`,
        ...['', body],
      ].join('\r\n'),
    );
  }

  function onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    if (isOthers(request)) return;
    // The other end may go at any time; who reads it hears of it.
    socket.on('error', () => undefined);
    const id = path.exec(request.url ?? '')?.[1];
    if (id === undefined) {
      refuse(socket, new CodedError('NOT_FOUND', 'there is nothing to upgrade to at this path'));
      return;
    }
    accept(request, socket, head, id).catch((error: unknown) => {
      refuse(socket, error);
    });
  }

  httpServer.on('upgrade', onUpgrade);
  return {
    close(): void {
      httpServer.off('upgrade', onUpgrade);
      for (const webSocket of server.clients) webSocket.terminate();
      server.close();
    },
  };
}
