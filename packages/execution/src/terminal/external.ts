import { spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { CodedError } from '@vmo/contract';
import { codeOf } from './errors.ts';
import { splitShellWords } from './shell-words.ts';

/** A terminal emulator that cannot open its window (no display) ends sooner than this. */
const earlyEndMs = 500;

const attachMain = fileURLToPath(new URL('attach-main.ts', import.meta.url));

/**
 * The argument vector that shows a terminal job in a terminal emulator: `termCmd` (such as `xterm -e` or
 * `gnome-terminal --`) split in the manner of a shell, and behind it the program that attaches.
 * @throws CodedError NO_EXTERNAL_TERMINAL when `termCmd` holds no command
 */
export function externalTerminalCommand(termCmd: string, socketPath: string, jobId: string): string[] {
  let words: string[];
  try {
    words = splitShellWords(termCmd);
  } catch (error) {
    throw new CodedError('NO_EXTERNAL_TERMINAL', `VMO_TERM_CMD (${termCmd}) cannot be understood`, {
      cause: error,
    });
  }
  if (words.length === 0)
    throw new CodedError(
      'NO_EXTERNAL_TERMINAL',
      'no external terminal is set: set VMO_TERM_CMD, for example to `xterm -e`',
    );
  return [...words, process.execPath, attachMain, socketPath, jobId];
}

/**
 * Starts a terminal emulator, detached.
 * @param environment such as DISPLAY, which it needs to find the desktop
 * @throws CodedError NO_EXTERNAL_TERMINAL when its program is not found, or ends at once
 */
export async function openExternalTerminal(
  command: readonly string[],
  environment: Readonly<Record<string, string>>,
): Promise<void> {
  const [program = '', ...args] = command;
  const child = spawn(program, args, { detached: true, stdio: 'ignore', cwd: '/', env: environment });
  child.unref();
  const early = new Promise<string | null>((resolve) => {
    child.once('error', (error) => {
      const missing = codeOf(error) === 'ENOENT';
      resolve(missing ? 'was not found' : `could not be started: ${error.message}`);
    });
    child.once('exit', (code, signal) => {
      // Some hand the window to a server of theirs and end well.
      resolve(code === 0 ? null : `ended at once with ${signal ?? `exit code ${String(code)}`}`);
    });
  });
  const trouble = await Promise.race([early, delay(earlyEndMs, null)]);
  if (trouble !== null)
    throw new CodedError('NO_EXTERNAL_TERMINAL', `the program of VMO_TERM_CMD, ${program}, ${trouble}`);
}
