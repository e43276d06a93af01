import { attachTerminal } from './attach.ts';

/** Shows a terminal job in this terminal: node attach-main.ts <socket> <jobId>. Closing the window does not end the job. */
const [socketPath = '', jobId = ''] = process.argv.slice(2);
const leaving = new AbortController();
for (const signal of ['SIGHUP', 'SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    leaving.abort();
  });
}
try {
  await attachTerminal({
    socketPath,
    jobId,
    input: process.stdin,
    output: process.stdout,
    signal: leaving.signal,
  });
  process.exit(0);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}
