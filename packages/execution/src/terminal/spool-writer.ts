import { open, type FileHandle } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { codeOf } from './errors.ts';

/** A disk that is full or away is tried again this often; meanwhile the program waits. */
const retryMs = 250;

export interface SpoolWriterOptions {
  path: string;
  /** Once per trouble, with the reason. */
  onTrouble: (error: unknown) => void;
}

/** Appends to one file, exactly what it is given and in order, however long the disk takes. One call at a time. */
export class SpoolWriter {
  readonly #options: SpoolWriterOptions;
  #file: FileHandle | null = null;
  #gone = false;

  constructor(options: SpoolWriterOptions) {
    this.#options = options;
  }

  /** Resolves when everything is in the file. When its directory has been removed there is nobody to write for. */
  async append(bytes: Uint8Array): Promise<void> {
    let told = false;
    for (let at = 0; !this.#gone && at < bytes.length;) {
      try {
        this.#file ??= await open(this.#options.path, 'a', 0o600);
        at += (await this.#file.write(bytes, at, bytes.length - at)).bytesWritten;
      } catch (error) {
        if (!told) this.#options.onTrouble(error);
        told = true;
        this.#gone = codeOf(error) === 'ENOENT';
        await this.close(); // opened anew: a mount that went away and came back has other files
        if (!this.#gone) await delay(retryMs);
      }
    }
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = null;
    // What was written stays written, whatever closing says.
    await file?.close().catch(this.#options.onTrouble);
  }
}
