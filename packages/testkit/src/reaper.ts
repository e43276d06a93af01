import { spawn } from 'node:child_process';

const script = `
  while kill -0 "$1" 2>/dev/null && kill -0 "$2" 2>/dev/null; do sleep 1; done
  kill -INT "$2" 2>/dev/null
  while kill -0 "$2" 2>/dev/null; do sleep 0.2; done
  rm -rf "$3"`;

/**
 * Ends a daemon, and removes its directory, when this process has gone, however it went: test runners do not always
 * give their workers time to tidy up.
 */
export function endWithThisProcess(pid: number, directory: string): void {
  const args = [String(process.pid), String(pid), directory];
  spawn('sh', ['-c', script, 'reaper', ...args], { detached: true, stdio: 'ignore' }).unref();
}
