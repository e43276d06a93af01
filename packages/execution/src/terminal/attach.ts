import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { spoolSizes } from '../run-directory.ts';
import { SpoolReader, watchDirectory } from '../spool.ts';
import { connectToHost, type HostClient } from './client.ts';
import { ScreenAnswer, type Request } from './protocol.ts';

/** A terminal emulator's side: keys come from `input`, the screen goes to `output`. */
export interface AttachOptions {
  socketPath: string;
  jobId: string;
  input: Readable & { setRawMode?: (raw: boolean) => unknown };
  output: Writable & { columns?: number; rows?: number };
  /** Ends the attachment; the job goes on. */
  signal?: AbortSignal;
}

/**
 * So much of the newest output stays in the spool whatever is stored of it: an emulator that is further behind is shown
 * the screen as it is.
 */
export const attachedTailBytes = 1024 * 1024;

/** Leaves what a program may have left on: alternate screen, mouse reporting, bracketed paste, hidden cursor, colours. */
const resetModes =
  '\u001b[?1049l\u001b[?1000l\u001b[?1002l\u001b[?1003l\u001b[?1006l\u001b[?2004l\u001b[?1l\u001b[?25h\u001b[r\u001b[0m\r\n';

/**
 * Shows a terminal job in a real terminal until it ends: its screen, then the bytes of its spool as they come; keys
 * and the window's size go to the job.
 * @throws HostGoneError when there is no terminal host
 * @throws RequestError when it has no such terminal
 */
export async function attachTerminal(options: AttachOptions): Promise<void> {
  const { socketPath, jobId, input, output } = options;
  let ended: () => void = () => undefined;
  const over = new Promise<void>((resolve) => (ended = resolve));
  const host = await connectToHost(socketPath, (endedId) => {
    if (endedId === jobId) ended();
  });
  void host.closed.then(ended);
  options.signal?.addEventListener('abort', ended, { once: true });
  if (options.signal?.aborted) ended();

  /** What can no longer be done because the terminal has just ended is not worth a word: `over` says so. */
  const tell = (request: Request) => void host.request(request).catch(() => undefined);
  const decoder = new StringDecoder('utf8');
  const type = (bytes: Buffer) => {
    tell({ request: 'input', jobId, data: decoder.write(bytes) });
  };
  const resize = () => {
    const { columns = 0, rows = 0 } = output;
    if (columns >= 2 && rows >= 2) tell({ request: 'resize', jobId, cols: columns, rows });
  };

  try {
    resize(); // before the screen is asked for, so that it comes in this size
    const screen = await show(host, jobId, output);
    const showAgain = async () => {
      output.write('\u001bc');
      return (await show(host, jobId, output)).offset;
    };
    input.setRawMode?.(true);
    input.on('data', type);
    output.on('resize', resize);
    await follow(screen, output, over, showAgain);
    output.write(resetModes);
  } finally {
    input.setRawMode?.(false);
    input.off('data', type);
    input.pause();
    output.off('resize', resize);
    host.close();
  }
}

async function show(host: HostClient, jobId: string, output: Writable): Promise<ScreenAnswer> {
  // The emulator answers queries from now on.
  await host.request({ request: 'control', jobId, controlled: true });
  const screen = ScreenAnswer.parse(await host.request({ request: 'screen', jobId }));
  output.write(screen.data);
  return screen;
}

/**
 * Writes what the spool holds after the screen, as it grows, until `over` and everything is written.
 * @param showAgain shows the screen as it is, and tells where it ends
 */
async function follow(
  screen: ScreenAnswer,
  output: Writable,
  over: Promise<void>,
  showAgain: () => Promise<number>,
): Promise<void> {
  const reader = new SpoolReader(screen.directory);
  const offsets = { stdout: screen.offset, stderr: 0, boot: 0, command: 0 };
  let wake: () => void = () => undefined;
  let changed = new Promise<void>((resolve) => (wake = resolve));
  const stopWatching = watchDirectory(screen.directory, () => {
    wake();
  });
  const state = { over: false };
  void over.then(() => {
    state.over = true;
    wake();
  });
  try {
    for (;;) {
      const end = state.over ? spoolSizes(screen.directory) : null;
      const chunks = await reader.read(offsets, end);
      // Looked at behind the read: what was read from further back may have been freed before it.
      const kept = spoolSizes(screen.directory).stdout - attachedTailBytes;
      if (offsets.stdout < kept) {
        // The screen of one that has ended is gone: then its last part is what there is.
        offsets.stdout = await showAgain().catch(() => kept);
        continue;
      }
      for (const { bytes, offset } of chunks) {
        offsets.stdout = offset + bytes.length;
        if (!output.write(bytes)) await Promise.race([once(output, 'drain'), over]);
      }
      if (chunks.length > 0) continue;
      if (end) return;
      await changed;
      changed = new Promise((resolve) => (wake = resolve));
    }
  } finally {
    stopWatching();
    await reader.close();
  }
}
