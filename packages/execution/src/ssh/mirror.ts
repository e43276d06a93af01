import { open, type FileHandle } from 'node:fs/promises';
import type { Offsets } from '@vmo/contract';
import { spoolFile } from '../run-directory.ts';

/** What a command on a host writes. */
type Stream = 'stdout' | 'stderr';

/** The local copy of a remote spool. Its size is where the next session goes on, also after a restart of ours. */
export class Mirror {
  readonly sizes: Offsets;
  readonly #files: Record<Stream, FileHandle>;

  private constructor(files: Record<Stream, FileHandle>, sizes: Offsets) {
    this.#files = files;
    this.sizes = sizes;
  }

  static async open(directory: string): Promise<Mirror> {
    const stdout = await open(spoolFile(directory, 'stdout'), 'a', 0o600);
    const stderr = await open(spoolFile(directory, 'stderr'), 'a', 0o600);
    const sizes = {
      stdout: (await stdout.stat()).size,
      stderr: (await stderr.stat()).size,
      boot: 0,
      command: 0,
    };
    return new Mirror({ stdout, stderr }, sizes);
  }

  async append(stream: Stream, bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      const { bytesWritten } = await this.#files[stream].write(bytes, at);
      at += bytesWritten;
      this.sizes[stream] += bytesWritten;
    }
  }

  /** After this, the remote spool may go. */
  async sync(): Promise<void> {
    await Promise.all([this.#files.stdout.sync(), this.#files.stderr.sync()]);
  }

  async close(): Promise<void> {
    await Promise.all([this.#files.stdout.close(), this.#files.stderr.close()]);
  }
}
