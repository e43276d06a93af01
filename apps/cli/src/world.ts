import type { ReadStream, WriteStream } from 'node:tty';

export type Environment = Readonly<Record<string, string | undefined>>;

/** What the program sees of the machine it runs on; only main.ts makes one. */
export interface World {
  readonly env: Environment;
  readonly cwd: string;
  readonly home: string;
  readonly stdin: ReadStream;
  readonly stdout: WriteStream;
  readonly stderr: WriteStream;
  /** Hears of SIGINT, SIGTERM and SIGHUP instead of being ended by them; returns the way to stop. */
  onSignal(listener: (signal: NodeJS.Signals) => void): () => void;
}

/** Somebody sits in front of it and can answer. */
export const isAttended = ({ stdin, stderr }: World): boolean => stdin.isTTY && stderr.isTTY;

/**
 * Writes, and waits where the reader is slow. Several writers of one stream keep their order, as each waits for what
 * it has written only.
 */
export function write(stream: NodeJS.WritableStream, data: string | Uint8Array): Promise<void> {
  if (data.length === 0) return Promise.resolve();
  return new Promise((resolve) => {
    // An error comes to the listener that main.ts has set; nothing is to be done about it here.
    stream.write(data, () => resolve());
  });
}
