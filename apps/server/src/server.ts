import { readFileSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import { join } from 'node:path';
import { createAgent, heldForEver, shipLimits, takeDataDirectory } from '@vmo/agent';
import type { AgentCapacity } from '@vmo/contract';
import { isAnswering } from '@vmo/db';
import { z } from 'zod';
import { createAgents, planLease } from './agents/index.ts';
import { announce } from './announcement.ts';
import { createAuth, createOriginPolicy, inUrl, loadSecretsKey, loadToken } from './auth/index.ts';
import type { Config } from './config.ts';
import { openDatabase } from './database.ts';
import { lookAtDisks } from './disks.ts';
import { createExecution } from './execution.ts';
import { createHosts } from './hosts/index.ts';
import { createHttp, createListener, createNewsBoard, isLoopback } from './http/index.ts';
import { createJobs } from './jobs/index.ts';
import { createBus } from './kernel/bus.ts';
import { every } from './kernel/every.ts';
import type { Logger } from './kernel/logger.ts';
import { createRealtime } from './realtime/index.ts';
import { createRequests } from './requests/index.ts';
import { createVms } from './vms/index.ts';
import { createWorkspaces } from './workspaces/index.ts';

const root = join(import.meta.dirname, '..', '..', '..');
/** The agent that lives in this process, as jobs name it. It finds its jobs by it, so it never changes. */
const agentName = 'local';
const hourMs = 3_600_000;

export interface Server {
  /** Resolves when everything is up. When it fails, `stop` takes down what was started. */
  start(): Promise<{ url: string; loginCode: string }>;
  /** Running jobs go on without us. Can be called at any time, and again. */
  stop(): Promise<void>;
}

export interface ServerOptions {
  config: Config;
  logger: Logger;
  /** What it cannot work without has gone to somebody else: it must be stopped. */
  onLost: (error: Error) => void;
}

/** Puts everything together. Each part is handed to the stack as it starts; the stop is the same way back. */
export function createServer({ config, logger, onLost }: ServerOptions): Server {
  const stack = new AsyncDisposableStack();
  const { version } = z
    .object({ version: z.string() })
    .parse(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')));
  const scheme = config.tls ? 'https' : 'http';
  let started: ReturnType<Server['start']> | null = null;
  let stopped: Promise<void> | null = null;

  async function launch(): ReturnType<Server['start']> {
    stack.defer(
      await takeDataDirectory(config.dataDirectory, { program: 'server', variable: 'VMO_DATA_DIR' }),
    );
    const db = await openDatabase(config, logger, stack, onLost);
    const bus = createBus((error) => {
      logger.error({ err: error }, 'a listener failed');
    });
    const execution = await createExecution(config, logger);
    stack.defer(execution.close);
    const lease = planLease(config.agentLeaseMs, config.agentPollMs);
    const agents = createAgents({ db, lease });
    const auth = createAuth({
      ...{ db, bus, findAgent: agents.identify },
      token: await loadToken(config.dataDirectory, config.token),
    });
    const hosts = createHosts({ db, reach: execution.reach });
    const workspaces = createWorkspaces({
      db,
      findHost: hosts.get,
      hostShell: execution.hostShell,
      environment: config.jobEnvironment,
    });
    await workspaces.seed({
      first: [config.startDirectory, join(root, 'examples', 'demo')],
      always: config.workspaces,
    });
    const jobs = createJobs({
      db,
      bus,
      agents,
      workspaces,
      hosts,
      terminals: execution.terminals,
      defaultDirectory: config.startDirectory,
      artifactsDirectory: join(config.dataDirectory, 'artifacts'),
      eventRetentionDays: config.eventRetentionDays,
      secretsKey: await loadSecretsKey(config.dataDirectory),
      onMarksError: (error, jobId) => {
        logger.warn({ err: error, jobId }, 'a log was not looked through for groups and problems');
      },
    });
    stack.defer(jobs.stop);
    await jobs.keepPartitions();
    await jobs.start();
    stack.defer(every(hourMs, 'retention', jobs.keepPartitions, logger));

    const vms = createVms({
      ...{ db, bus, jobs, logger, hypervisor: execution.hypervisor },
      configDirectory: config.vmConfigDirectory,
      ladder: config.stopLadder,
    });
    stack.defer(vms.stop);
    const requests = createRequests({ db, bus, jobs, vms, limits: config.requests, logger });
    stack.defer(requests.stop);

    const capacityNow = (): AgentCapacity => ({
      slots: { jobs: config.maxConcurrentJobs, vms: config.maxConcurrentVms, requests: config.agentSlots },
      cpus: availableParallelism(),
      memoryMib: Math.floor(totalmem() / 2 ** 20),
      accelerators: execution.hypervisor.accelerators(),
      // Those of the server are its own.
      images: [],
      fetchesImages: false,
      imageCacheBytes: null,
    });
    const agentId = await agents.helloHere(agentName, { version, capacity: capacityNow() });
    const agent = createAgent({
      name: agentName,
      capacity: () => Promise.resolve(capacityNow()),
      api: jobs.agentApi({ id: agentId, name: agentName, isHere: true, images: [], bringsUpTo: 0 }),
      lease: heldForEver,
      times: lease,
      execution: execution.manager,
      runsDirectory: join(config.dataDirectory, 'runs'),
      defaultDirectory: config.startDirectory,
      environment: config.jobEnvironment,
      cancelGraceMs: config.cancelGraceMs,
      limits: shipLimits(config.spoolHighWaterBytes, config.maxLogBytes),
      logger,
    });
    let agentUp = false;
    stack.defer(() => {
      agentUp = false;
      return agent.stop();
    });
    await vms.start();
    await requests.start();
    bus.on('job:pending', agent.hints.jobsPending);
    bus.on('job:cancel-requested', ({ jobId }) => {
      agent.hints.cancelRequested(jobId);
    });
    bus.on('job:memory', ({ jobId, memoryMib }) => {
      agent.hints.memoryChanged(jobId, memoryMib);
    });

    stack.defer(every(lease.sweepMs, 'the sweep of leases', jobs.sweepLapsed, logger));

    const listener = createListener(config);
    const policy = createOriginPolicy({ ...config, scheme, port: listener.port });
    const news = createNewsBoard(bus);
    stack.defer(news.close);
    const http = createHttp({
      auth,
      agents,
      news,
      jobs,
      workspaces,
      hosts,
      vms,
      requests,
      policy,
      logger,
      version,
      tls: config.tls !== null,
      allowedOrigins: config.allowedOrigins,
      info: () => ({
        version,
        agent: agentName,
        maxConcurrentJobs: config.maxConcurrentJobs,
        externalTerminal: config.terminalCommand !== null,
        eventRetentionDays: config.eventRetentionDays,
        defaultDirectory: config.startDirectory,
        home: config.home,
      }),
      settings: () => config.settings,
      readiness: async () => {
        const database = (await isAnswering(db)) ? 'up' : 'down';
        const { runsAreFull, problems } = lookAtDisks(config.dataDirectory, config.databaseUrl === null);
        const isReady = database === 'up' && agentUp && !runsAreFull;
        return {
          status: isReady ? 'ready' : 'not ready',
          database,
          agent: agentUp ? 'up' : 'down',
          unstoredJobs: agent.unstoredJobs(),
          problems,
        };
      },
    });
    listener.server.on('request', http);
    stack.defer(listener.close);
    const realtime = createRealtime({
      httpServer: listener.server,
      auth,
      policy,
      jobs,
      vms,
      bus,
      logger,
      onTerminalControl: (jobId, controlled) => {
        execution.terminals.control(jobId, controlled).catch((error: unknown) => {
          logger.warn({ err: error, jobId }, 'the terminal host was not told who answers');
        });
      },
    });
    stack.defer(realtime.close);

    // Last: from here on, what jobs have written meanwhile is shipped, and whatever else there is to do waits for its turn.
    await agent.start();
    agentUp = true;
    await listener.listen();

    const shownHost = ['0.0.0.0', '::'].includes(config.host) ? '127.0.0.1' : inUrl(config.host);
    const url = `${scheme}://${shownHost}:${String(listener.port())}`;
    stack.defer(await announce(config.dataDirectory, url));

    if (!config.tls && !isLoopback(config.host)) {
      logger.warn(
        `listening on ${config.host} without TLS: others can read along; see VMO_TLS_CERT and VMO_TLS_KEY`,
      );
    }
    return { url, loginCode: auth.issueCode() };
  }

  return {
    start: () => (started ??= launch()),
    stop: () =>
      (stopped ??= (async () => {
        // A start that is under way is waited for: what it opens must be closed as well.
        await started?.catch(() => undefined);
        await stack.disposeAsync();
      })()),
  };
}
