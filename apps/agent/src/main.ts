import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { z } from 'zod';
import { loadAgentConfig, type AgentConfig } from './config.ts';
import { startRemoteAgent, type RemoteAgent } from './remote-agent.ts';

const parentPollMs = 500;
const root = join(import.meta.dirname, '..', '..', '..');

/** One line for the person who started us. */
function fail(error: unknown): never {
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`vmo agent: ${message.replaceAll('\n', ' ')}\n`);
  process.exit(1);
}

function readConfig(): AgentConfig {
  try {
    return loadAgentConfig(process.env);
  } catch (error) {
    return fail(error);
  }
}

const config = readConfig();
const logger = pino(
  { level: config.logLevel, base: null, timestamp: pino.stdTimeFunctions.isoTime },
  pino.destination({ dest: 2, sync: true }),
);
const { version } = z
  .object({ version: z.string() })
  .parse(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')));

let agent: RemoteAgent | null = null;
let asked = 0;

async function leave(exitCode: number): Promise<never> {
  await agent?.stop().catch((error: unknown) => {
    logger.error({ err: error }, 'the stop failed');
  });
  process.exit(exitCode);
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    asked += 1;
    if (asked > 2 || !agent) process.exit(asked > 2 ? 1 : 0);
    if (asked === 2) {
      logger.info(
        `${signal} again: leaving at once; runs end with the lease, unless an agent starts here before`,
      );
      void leave(0);
      return;
    }
    logger.info(`${signal}: taking no more jobs, waiting for those that run; once more to leave at once`);
    void agent.drain().then(() => leave(0));
  });
}

for (const kind of ['uncaughtException', 'unhandledRejection'] as const) {
  process.on(kind, (error: unknown) => {
    logger.fatal({ err: error }, kind);
    void leave(1);
  });
}

if (config.exitWithParent) {
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) process.exit(0);
  }, parentPollMs).unref();
}

try {
  agent = await startRemoteAgent({
    ...{ config, version, logger },
    onRefused(error) {
      process.stderr.write(
        `vmo agent: ${error.message}; taking no more work, and its runs end with the lease\n`,
      );
      void leave(1);
    },
  });
  process.stdout.write(`vmo agent ${agent.name} is ready\n`);
} catch (error) {
  fail(error);
}
