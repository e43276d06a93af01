import { createProcessTable } from '../process.ts';
import { startTerminalHost } from './host.ts';

/**
 * The process that holds the terminals: node host-main.ts <socket>. It is started detached, in a session of its own,
 * with its standard files on a log. One error must not take all terminals with it, so that what nobody caught is
 * logged, and the host goes on.
 */
const log = (words: string): void => {
  process.stderr.write(`${new Date().toISOString()} ${words}\n`);
};

process.on('uncaughtException', (error) => {
  log(`uncaught: ${error.stack ?? error.message}`);
});
process.umask(0o077);

const socketPath = process.argv[2] ?? '';
const host = await startTerminalHost({ socketPath, table: createProcessTable(), log }).catch(
  (error: unknown) => {
    log(`cannot start: ${String(error)}`);
    process.exit(1);
  },
);
if (host) {
  process.on('SIGHUP', () => undefined);
  process.on('SIGTERM', () => void host.stop());
  process.on('SIGINT', () => void host.stop());
  await host.closed;
}
process.exit(0);
