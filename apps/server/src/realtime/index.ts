import type { Server as HttpServer } from 'node:http';
import {
  CodedError,
  jobsNamespace,
  maxSocketMessage,
  parseInput,
  socketCommands,
  vmsNamespace,
  type ClientEvents,
  type JobId,
  type Permission,
  type ServerEvents,
  type SocketCommandName,
  type SocketError,
  type VmServerEvents,
} from '@vmo/contract';
import { Server, type ExtendedError, type Namespace, type Socket } from 'socket.io';
import type { z } from 'zod';
import { permit, type Auth, type OriginPolicy, type Principal } from '../auth/index.ts';
import { logError, readAddress, readCredentials, toCodedError } from '../http/index.ts';
import type { Jobs } from '../jobs/index.ts';
import type { Bus } from '../kernel/bus.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Vms } from '../vms/index.ts';
import { Client } from './client.ts';
import { createCommands, type CommandResult } from './commands.ts';
import { LiveTails } from './live-tails.ts';
import { parser } from './parser.ts';
import { createSessions } from './sessions.ts';
import { createTerminalControl } from './terminal-control.ts';
import { VmsClient } from './vms-client.ts';
import { createVnc } from './vnc.ts';

/** A connection that does not authenticate in this time is closed. */
const connectTimeoutMs = 10_000;

export interface RealtimeOptions {
  httpServer: HttpServer;
  auth: Auth;
  policy: OriginPolicy;
  jobs: Jobs;
  vms: Pick<Vms, 'input' | 'vncSocket'>;
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

interface SocketData {
  principal: Principal;
}

const socketPath = '/socket.io';

/** Sockets of both kinds: Socket.IO for jobs and machines, and the screens of machines. */
export function createRealtime(options: RealtimeOptions): Realtime {
  const { httpServer, auth, policy, jobs, vms, bus, logger, onTerminalControl } = options;
  const io = new Server<ClientEvents, ServerEvents, Record<string, never>, SocketData>(httpServer, {
    // Polling is how a plain client begins; it upgrades. Both ways pass `allowRequest` first.
    transports: ['websocket', 'polling'],
    path: socketPath,
    parser,
    // Other upgrades on this server are for the screens of machines.
    destroyUpgrade: false,
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
  });
  const namespace = io.of(jobsNamespace);
  const clients = new Map<string, Client>();
  const tails = new LiveTails();
  const control = createTerminalControl(onTerminalControl);
  const consoles = createTerminalControl(() => undefined);
  const commands = createCommands({ jobs, vms, control, consoles });
  const sessions = createSessions(auth, (error) => {
    logError(logger, toCodedError(error), 'session check');
  });
  const vnc = createVnc({
    ...{ httpServer, auth, policy, vms, sessions, logger },
    isOthers: ({ url }) => url?.startsWith(`${socketPath}/`) === true,
  });

  io.use((_socket, next) => {
    next(new Error(`there is nothing here: connect to ${jobsNamespace} or ${vmsNamespace}`));
  });

  type AnySocket = Pick<Socket<never, never, never, SocketData>, 'handshake' | 'request' | 'data'>;

  async function identify({ handshake, request }: AnySocket, permission: Permission): Promise<Principal> {
    const { token } = handshake.auth;
    const { cookie, bearer } = readCredentials(request);
    const credentials = { bearer: typeof token === 'string' ? token : bearer, cookie };
    if (credentials.bearer === null && cookie !== null && request.headers.origin === undefined) {
      throw new CodedError('ORIGIN_REFUSED', 'the session cookie needs an Origin: use the token instead');
    }
    const principal = await auth.identify(credentials, readAddress(request));
    permit(principal, permission);
    return principal;
  }

  const admit =
    (permission: Permission) =>
    (socket: AnySocket, next: (error?: ExtendedError) => void): void => {
      identify(socket, permission).then(
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
    };
  namespace.use(admit('jobs:read'));

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
      tails,
      onError: (error) => {
        logError(logger, toCodedError(error), 'log delivery');
      },
    });
    clients.set(socket.id, client);
    const release = sessions.hold({
      principal: client.principal,
      end: () => {
        socket.disconnect(true);
      },
    });
    socket.onAny((name: string, ...args: unknown[]) => void answer(client, name, args));
    socket.on('error', (error) => {
      logger.debug({ err: error }, 'socket error');
    });
    socket.on('disconnect', () => {
      clients.delete(socket.id);
      release();
      client.close();
      control.leaveAll(client);
      consoles.leaveAll(client);
    });
  });

  const machines: Namespace<Record<string, never>, VmServerEvents, Record<string, never>, SocketData> = io.of(
    vmsNamespace,
  );
  const lookers = new Set<VmsClient>();
  machines.use(admit('vms:read'));
  machines.on('connection', (socket) => {
    const looker = new VmsClient(socket);
    lookers.add(looker);
    const release = sessions.hold({
      principal: socket.data.principal,
      end: () => {
        socket.disconnect(true);
      },
    });
    socket.on('disconnect', () => {
      release();
      looker.close();
      lookers.delete(looker);
    });
  });

  const unsubscribe = [
    bus.on('job:appended', ({ jobId, events }) => {
      tails.appended(jobId, events);
      for (const client of clients.values()) client.jobAppended(jobId, events);
    }),
    bus.on('job:changed', (job) => {
      for (const client of clients.values()) client.jobChanged(job);
    }),
    bus.on('vm:changed', (vm) => {
      for (const looker of lookers) looker.changed(vm);
    }),
    bus.on('vm:event', (event) => {
      for (const looker of lookers) looker.happened(event);
    }),
    bus.on('vm:metrics', (metrics) => {
      for (const looker of lookers) looker.measured(metrics);
    }),
    bus.on('session:ended', ({ sessionId }) => {
      sessions.ended(sessionId);
    }),
  ];

  return {
    async close() {
      sessions.close();
      vnc.close();
      for (const end of unsubscribe) end();
      await io.close();
    },
  };
}
