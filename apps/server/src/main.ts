import { describeSettings, loadConfig, type Config } from './config.ts';
import { createLogger } from './kernel/logger.ts';
import { createServer, type Server } from './server.ts';

/** A stop that takes longer is cut short: jobs and stored logs do not depend on an orderly end. */
const stopTimeoutMs = 9_000;
const parentPollMs = 500;

/** One line for the person who started us; what follows would only hide it. */
function fail(error: unknown): never {
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`vmo: ${message.replaceAll('\n', ' ')}\n`);
  process.exit(1);
}

function readConfig(): Config {
  try {
    return loadConfig(process.env);
  } catch (error) {
    return fail(error);
  }
}

/** For `vmo config`: what a start here would run with. Nothing is started. */
function printSettings(): never {
  try {
    process.stdout.write(`${JSON.stringify({ settings: describeSettings(process.env) })}\n`);
  } catch (error) {
    fail(error);
  }
  process.exit(0);
}

if (process.argv.includes('--settings')) printSettings();

const config = readConfig();
const logger = createLogger(config.logLevel);
const server: Server = createServer({
  config,
  logger,
  onLost: (error) => {
    logger.fatal(error.message);
    if (!stopping) void stop(1);
  },
});
let stopping = false;

async function stop(exitCode: number): Promise<never> {
  stopping = true;
  setTimeout(() => {
    logger.error(`not stopped after ${String(stopTimeoutMs / 1000)} s: ending now`);
    process.exit(exitCode || 1);
  }, stopTimeoutMs).unref();
  try {
    await server.stop();
  } catch (error) {
    logger.error({ err: error }, 'the stop failed');
    process.exit(1);
  }
  process.exit(exitCode);
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    if (stopping) process.exit(1);
    logger.info(`${signal}: stopping; running jobs go on`);
    void stop(0);
  });
}

for (const kind of ['uncaughtException', 'unhandledRejection'] as const) {
  process.on(kind, (error: unknown) => {
    logger.fatal({ err: error }, kind);
    if (!stopping) void stop(1);
  });
}

if (config.exitWithParent) {
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent && !stopping) void stop(0);
  }, parentPollMs).unref();
}

/** The start failed. When it was interrupted by a stop, that one ends the process. */
async function giveUp(error: unknown): Promise<void> {
  if (stopping) return;
  stopping = true;
  logger.debug({ err: error }, 'the start failed');
  await server.stop().catch((stopError: unknown) => {
    logger.error({ err: stopError }, 'the stop failed');
  });
  fail(error);
}

try {
  const { url, loginCode } = await server.start();
  process.stdout.write(`VM-Orchestrator is ready: ${url}/#login=${loginCode}\n`);
} catch (error) {
  await giveUp(error);
}
