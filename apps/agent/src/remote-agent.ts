import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { agentContractVersion, CodedError, type AgentCapacity, type AgentWelcome } from '@vmo/contract';
import {
  createExecutionManager,
  createLocalStreamStrategy,
  createProcessTable,
  probeCgroups,
} from '@vmo/execution';
import { createAgent, isFinalRefusal, type Agent, type AgentLogger } from './agent.ts';
import type { AgentConfig } from './config.ts';
import { takeDataDirectory } from './data-directory.ts';
import { ensureGuardian } from './guardian-process.ts';
import { createHttpAgentApi, type HttpAgentApi } from './http-api.ts';
import { createMachines, type Machines } from './machines.ts';
import { createRemoteLease, secondsUp } from './lease.ts';
import { shipLimits } from './ship-limits.ts';

const helloRetryMs = 1_000;
const newsRetryMs = 1_000;

export interface RemoteAgentOptions {
  config: AgentConfig;
  version: string;
  logger: AgentLogger;
  /** The server will never talk to it again; it has stopped taking jobs. */
  onRefused: (error: CodedError) => void;
}

export interface RemoteAgent {
  /** As the server knows it. */
  readonly name: string;
  /** Takes no more jobs and waits for those it has. */
  drain(): Promise<void>;
  /** Lets go: its runs go on until the end of the lease, for the next start to take up. */
  stop(): Promise<void>;
}

/** Names this data directory for ever. */
function installationOf(directory: string): string {
  const path = join(directory, 'installation');
  if (!existsSync(path)) writeFileSync(path, `${randomUUID()}\n`, { mode: 0o600 });
  return readFileSync(path, 'utf8').trim();
}

/** Tries until the server answers. @throws CodedError when it answers that it does not want this agent */
async function introduce(
  api: HttpAgentApi,
  hello: Parameters<HttpAgentApi['hello']>[0],
  logger: AgentLogger,
): Promise<{ welcome: AgentWelcome; askedAt: number }> {
  for (let attempt = 1; ; attempt++) {
    const askedAt = secondsUp();
    try {
      return { welcome: await api.hello(hello), askedAt };
    } catch (error) {
      if (error instanceof CodedError && isFinalRefusal(error)) throw error;
      // One that knows of versions says so of any other: this is one from before.
      if (error instanceof CodedError && error.code === 'INVALID_INPUT')
        throw new Error(
          `the server does not understand version ${String(hello.contract)} of the agent contract, which this agent (${hello.version}) speaks: update the server to the version of the agent (${error.message})`,
          { cause: error },
        );
      if (attempt === 1 || attempt % 60 === 0)
        logger.warn({ err: error }, 'the server does not answer; trying again until it does');
      await delay(helloRetryMs);
    }
  }
}

/**
 * An agent that is a program of its own. Everything it knows of the server it knows over HTTP, and its runs end with its
 * lease: a guardian beside it sees to that.
 * @throws Error in words for the person who starts it
 */
export async function startRemoteAgent(options: RemoteAgentOptions): Promise<RemoteAgent> {
  const { config, version, logger } = options;
  const { dataDirectory: directory } = config;
  const runsDirectory = join(directory, 'runs');
  const stack = new AsyncDisposableStack();
  stack.defer(await takeDataDirectory(directory, { program: 'agent', variable: 'VMO_AGENT_DATA_DIR' }));
  mkdirSync(runsDirectory, { recursive: true, mode: 0o700 });

  const table = createProcessTable();
  const local = createLocalStreamStrategy({ table, cgroups: await probeCgroups() });
  const reach = { baseUrl: config.serverUrl, token: config.token };
  const first = createHttpAgentApi({ ...reach, timeouts: { renewMs: 10_000, callMs: 10_000 } });
  const installation = installationOf(directory);
  /** What was not looked at yet is not offered. */
  function capacityWith(offer: ReturnType<Machines['offer']>): AgentCapacity {
    const { requestSlots, maxConcurrentVms, imageCacheBytes } = config;
    return {
      slots: {
        jobs: config.maxConcurrentJobs,
        ...(offer ? { vms: maxConcurrentVms, requests: requestSlots } : { vms: 0, requests: 0 }),
      },
      cpus: availableParallelism(),
      memoryMib: Math.floor(totalmem() / 2 ** 20),
      accelerators: offer?.accelerators ?? [],
      images: offer?.images ?? [],
      fetchesImages: offer !== null && imageCacheBytes > 0,
      imageCacheBytes,
    };
  }
  const hello = { contract: agentContractVersion, version, installation, capacity: capacityWith(null) };
  const { welcome, askedAt } = await introduce(first, hello, logger);
  const { name, times } = welcome;

  const lease = createRemoteLease(directory, await table.bootId());
  const guardian = {
    ...{ directory, runsDirectory, table, environment: config.jobEnvironment },
    everyMs: Math.ceil((times.leaseMs - times.endRunsMs) / 3),
  };
  // Before it has a lease, so that no run is ever without its guardian.
  await ensureGuardian(guardian);
  lease.renewed(askedAt, times.endRunsMs);
  const api = createHttpAgentApi({
    ...reach,
    timeouts: { renewMs: Math.ceil(times.renewMs / 5), callMs: Math.ceil(times.leaseMs / 2) },
  });
  const machines = await createMachines({ config, table, local, api, logger });
  stack.defer(machines.close);
  // Clocks are compared with the first words of each; a renewal follows at once.
  const agent: Agent = createAgent({
    ...{ name, runsDirectory, lease, times, logger },
    capacity: () => Promise.resolve(capacityWith(machines.offer())),
    machineFiles: machines.files,
    kept: machines.kept,
    api: {
      ...api,
      async renew(report) {
        await ensureGuardian(guardian);
        const asked = secondsUp();
        const answer = await api.renew(report);
        lease.renewed(asked, times.endRunsMs);
        return answer;
      },
    },
    execution: createExecutionManager([local, machines.strategy]),
    defaultDirectory: config.home,
    environment: config.jobEnvironment,
    cancelGraceMs: config.cancelGraceMs,
    limits: shipLimits(config.spoolHighWaterBytes, config.maxLogBytes),
    onRefused: options.onRefused,
  });
  stack.defer(agent.stop);
  await agent.start();

  // Not before: it takes seconds, in which the lease is renewed, and machines of before are taken up again.
  if (config.requestSlots > 0) {
    machines
      .look()
      .then((missing) => {
        if (missing === null) return agent.announce();
        logger.warn({}, `no simulation requests run here: ${missing}`);
        return undefined;
      })
      .catch((error: unknown) => {
        logger.warn({ err: error }, 'no simulation requests run here: what QEMU can do could not be tried');
      });
  }

  const listening = new AbortController();
  const listen = async (): Promise<void> => {
    while (!listening.signal.aborted) {
      try {
        const { jobsPending, cancelRequested, renew } = await api.news(listening.signal);
        for (const jobId of cancelRequested) agent.hints.cancelRequested(jobId);
        if (jobsPending) agent.hints.jobsPending();
        if (renew) void agent.announce();
      } catch {
        // Only hints: whoever renews the lease says what is wrong.
        await delay(newsRetryMs, undefined, { signal: listening.signal }).catch(() => undefined);
      }
    }
  };
  const heard = listen();
  stack.defer(async () => {
    listening.abort();
    await heard;
  });

  return {
    name,
    async drain() {
      await agent.drain();
      await agent.idle();
    },
    stop: () => stack.disposeAsync(),
  };
}
