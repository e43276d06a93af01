import type { Server as HttpServer } from 'node:http';
import {
  CodedError,
  jobsNamespace,
  maxSocketMessage,
  parseInput,
  socketCommands,
  type ClientEvents,
  type JobId,
  type Permission,
  type ServerEvents,
  type SocketCommandName,
  type SocketError,
} from '@vmo/contract';
import { Server } from 'socket.io';
import type { z } from 'zod';
import { permit, type Auth, type OriginPolicy, type Principal } from '../auth/index.ts';
import { logError, readAddress, readCredentials, toCodedError } from '../http/index.ts';
import type { Jobs } from '../jobs/index.ts';
import type { Bus } from '../kernel/bus.ts';
import type { Logger } from '../kernel/logger.ts';
import { Client, type JobsSocket } from './client.ts';
import { createCommands, type CommandResult } from './commands.ts';
import { createTerminalControl } from './terminal-control.ts';

/** How long a revoked or expired session may live on in a socket, at most; a logout here ends it at once. */
const sessionCheckMs = 1000;
/** A connection that does not authenticate in this time is closed. */
const connectTimeoutMs = 10_000;

export interface RealtimeOptions {
  httpServer: HttpServer;
  auth: Auth;
  policy: OriginPolicy;
  jobs: Jobs;
  bus: Bus;
  logger: Logger;
  /** Whether anybody types into a terminal job now. */
  onTerminalControl: (jobId: JobId, controlled: boolean) => void;
}

export interface Realtime {
  /** Ends all sockets, and the HTTP server that carries them. */
  close(): Promise<void>;
}

const isCommand = (name: string): name is SocketCommandName => Object.hasOwn(socketCommands, name);

function toSocketError({ code, message, issues }: CodedError): SocketError {
  return { code, message, ...(issues.length > 0 ? { issues } : {}) };
}

/** The Socket.IO side of the jobs domain: handshake, commands with acknowledgement, facts. */
export function createRealtime(options: RealtimeOptions): Realtime {
  const { httpServer, auth, policy, jobs, bus, logger, onTerminalControl } = options;
  const io = new Server<ClientEvents, ServerEvents, Record<string, never>, { principal: Principal }>(
    httpServer,
    {
      // Polling is how a plain client begins; it upgrades. Both ways pass `allowRequest` first.
      transports: ['websocket', 'polling'],
      serveClient: false,
      maxHttpBufferSize: maxSocketMessage,
      connectTimeout: connectTimeoutMs,
      allowRequest: (request, answer) => {
        const { origin, host } = request.headers;
        if (origin !== undefined && !policy.allowsOrigin(origin)) answer('ORIGIN_REFUSED', false);
        // Without an Origin it is no browser, and may have come through a tunnel under any name.
        else if (origin !== undefined && !policy.allowsHost(host)) answer('ORIGIN_REFUSED', false);
        else answer(null, true);
      },
    },
  );
  const namespace = io.of(jobsNamespace);
  const clients = new Map<string, Client>();
  const control = createTerminalControl(onTerminalControl);
  const commands = createCommands({ jobs, control });

  io.use((_socket, next) => {
    next(new Error(`there is nothing here: connect to ${jobsNamespace}`));
  });

  async function identify({ handshake, request }: JobsSocket): Promise<Principal> {
    const { token } = handshake.auth;
    const { cookie, bearer } = readCredentials(request);
    const credentials = { bearer: typeof token === 'string' ? token : bearer, cookie };
    if (credentials.bearer === null && cookie !== null && request.headers.origin === undefined) {
      throw new CodedError('ORIGIN_REFUSED', 'the session cookie needs an Origin: use the token instead');
    }
    const principal = await auth.identify(credentials, readAddress(request));
    permit(principal, 'jobs:read');
    return principal;
  }

  namespace.use((socket, next) => {
    identify(socket).then(
      (principal) => {
        socket.data.principal = principal;
        next();
      },
      (thrown: unknown) => {
        const error = toCodedError(thrown);
        logError(logger, error, 'socket handshake');
        next(Object.assign(new Error(error.message), { data: toSocketError(error) }));
      },
    );
  });

  async function run(
    client: Client,
    name: string,
    payload: unknown,
  ): Promise<CommandResult<SocketCommandName>> {
    if (!isCommand(name)) throw new CodedError('NOT_FOUND', `there is no event ${name.slice(0, 100)}`);
    const { permission, payload: schema }: { permission: Permission; payload: z.ZodType } =
      socketCommands[name];
    permit(client.principal, permission);
    // The table ties each command to the schema that parsed its payload; that tie cannot be told to the compiler here.
    const command = commands[name] as (
      client: Client,
      payload: unknown,
    ) => Promise<CommandResult<SocketCommandName>>;
    return command(client, parseInput(schema, payload));
  }

  async function answer(client: Client, name: string, args: unknown[]): Promise<void> {
    const last = args.at(-1);
    const acknowledge = typeof last === 'function' ? (last as (reply: object) => void) : () => undefined;
    try {
      const result = await run(client, name, typeof args[0] === 'function' ? undefined : args[0]);
      acknowledge({ ok: true, ...result.answer });
      result.after?.();
    } catch (thrown) {
      const error = toCodedError(thrown);
      logError(logger, error, `socket ${name.slice(0, 100)}`);
      acknowledge({ ok: false, error: toSocketError(error) });
    }
  }

  namespace.on('connection', (socket) => {
    const client = new Client({
      socket,
      jobs,
      onError: (error) => {
        logError(logger, toCodedError(error), 'log delivery');
      },
    });
    clients.set(socket.id, client);
    socket.onAny((name: string, ...args: unknown[]) => void answer(client, name, args));
    socket.on('error', (error) => {
      logger.debug({ err: error }, 'socket error');
    });
    socket.on('disconnect', () => {
      clients.delete(socket.id);
      client.close();
      control.leaveAll(client);
    });
  });

  function endSessions(isOver: (sessionId: string) => boolean): void {
    for (const { socket, principal } of clients.values()) {
      const { sessionId } = principal.actor;
      if (sessionId !== null && isOver(sessionId)) socket.disconnect(true);
    }
  }

  async function checkSessions(): Promise<void> {
    const sessionIds = new Set(
      [...clients.values()].flatMap(({ principal }) => principal.actor.sessionId ?? []),
    );
    if (sessionIds.size === 0) return;
    const live = await auth.filterLive([...sessionIds]);
    endSessions((sessionId) => sessionIds.has(sessionId) && !live.has(sessionId));
  }

  let checking = false;
  const sessionCheck = setInterval(() => {
    if (checking) return;
    checking = true;
    checkSessions()
      .catch((error: unknown) => {
        logError(logger, toCodedError(error), 'session check');
      })
      .finally(() => {
        checking = false;
      });
  }, sessionCheckMs);

  const unsubscribe = [
    bus.on('job:appended', ({ jobId, events }) => {
      for (const client of clients.values()) client.jobAppended(jobId, events);
    }),
    bus.on('job:changed', (job) => {
      for (const client of clients.values()) client.jobChanged(job);
    }),
    bus.on('session:ended', ({ sessionId }) => {
      endSessions((id) => id === sessionId);
    }),
  ];

  return {
    async close() {
      clearInterval(sessionCheck);
      for (const end of unsubscribe) end();
      await io.close();
    },
  };
}
