import type { Image, ImageKind } from '@vmo/contract';
import { SvelteMap } from 'svelte/reactivity';
import { api } from './api.ts';
import { sendFile, type UploadTransport } from './image-upload.ts';
import { asError } from './session.svelte.ts';
import { storage } from './storage.svelte.ts';

/** The browser computes the checksum of files up to this size, which it has to hold in memory for that. */
const affordableBytes = 128 * 1024 * 1024;

export type UploadPhase = 'summing' | 'sending' | 'paused' | 'failed';

/** One file on its way to the server. */
export class Upload {
  readonly file: File;
  readonly name: string;
  phase: UploadPhase = $state('sending');
  sent = $state(0);
  /** Bytes a second over the last while; 0: not known. */
  speed = $state(0);
  error: Error | null = $state.raw(null);
  #abort = new AbortController();
  readonly #done: (image: Image) => void;

  constructor(file: File, name: string, done: (image: Image) => void) {
    this.file = file;
    this.name = name;
    this.#done = done;
  }

  get share(): number {
    return this.file.size === 0 ? 1 : this.sent / this.file.size;
  }

  /** Seconds, as far as the speed tells; null: not known. */
  get left(): number | null {
    return this.speed > 0 ? Math.ceil((this.file.size - this.sent) / this.speed) : null;
  }

  /** Sends what the server does not have. */
  async run(from: number): Promise<void> {
    this.#abort = new AbortController();
    this.phase = 'sending';
    this.error = null;
    this.sent = from;
    const begun = Date.now();
    try {
      const image = await sendFile(this.file, from, transportOf(this.name), this.#abort.signal, (sent) => {
        this.sent = sent;
        this.speed = ((sent - from) / Math.max(1, Date.now() - begun)) * 1000;
      });
      this.#done(image);
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      this.error = asError(error);
      this.phase = 'failed';
    }
  }

  pause(): void {
    this.phase = 'paused';
    this.#abort.abort();
  }

  /** From where the server is. */
  async resume(): Promise<void> {
    try {
      const { image } = await api.call('getImage', { params: { imageName: this.name } });
      await this.run(image.receivedBytes);
    } catch (error) {
      this.error = asError(error);
      this.phase = 'failed';
    }
  }
}

function transportOf(imageName: string): UploadTransport {
  const params = { imageName };
  return {
    send: async (bytes, offset, signal) =>
      (await api.upload('putImageBytes', { params, query: { offset }, bytes, signal })).image,
    ask: async (signal) => (await api.call('getImage', { params, signal })).image,
    pause: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    now: () => performance.now(),
  };
}

/** Files that this browser tab is sending. */
class Uploads {
  #byName = new SvelteMap<string, Upload>();

  of(name: string): Upload | undefined {
    return this.#byName.get(name);
  }

  get active(): boolean {
    return [...this.#byName.values()].some(({ phase }) => phase === 'sending' || phase === 'summing');
  }

  /**
   * Announces an image and begins to send it.
   * @throws as the server refused it
   */
  async begin(file: File, name: string, kind: ImageKind, sha256: string): Promise<void> {
    const sum = sha256.trim() || (await this.#sum(file));
    const { image } = await api.call('createImage', {
      body: { name, kind, sizeBytes: file.size, ...(sum ? { sha256: sum } : {}) },
    });
    storage.put(image);
    void this.#start(file, name).run(image.receivedBytes);
  }

  /**
   * Goes on with an upload that a reload broke off.
   * @throws when the file cannot be the same
   */
  resume(image: Image, file: File): void {
    if (file.size !== image.sizeBytes)
      throw new Error(
        `“${file.name}” has ${file.size.toLocaleString()} bytes; the upload of “${image.name}” began with a file of ${image.sizeBytes.toLocaleString()}. Choose the same file.`,
      );
    void this.#start(file, image.name).run(image.receivedBytes);
  }

  forget(name: string): void {
    this.#byName.get(name)?.pause();
    this.#byName.delete(name);
  }

  #start(file: File, name: string): Upload {
    const upload = new Upload(file, name, (image) => {
      this.#byName.delete(name);
      storage.put(image);
      void storage.load();
    });
    this.#byName.set(name, upload);
    return upload;
  }

  /** SHA-256 in hexadecimal; empty where it costs too much or the browser has no means. */
  async #sum(file: File): Promise<string> {
    // Undefined outside secure contexts, whatever the type says.
    const subtle = crypto.subtle as SubtleCrypto | undefined;
    if (!subtle || file.size > affordableBytes) return '';
    const sum = new Uint8Array(await subtle.digest('SHA-256', await file.arrayBuffer()));
    return [...sum].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  }
}

export const uploads = new Uploads();

/** A name that an image may have, out of that of a file. */
export function imageName(file: string): string {
  return (
    file
      .replace(/[^A-Za-z0-9._+-]+/g, '-')
      .replace(/^[^A-Za-z0-9]+/, '')
      .slice(0, 128) || 'image'
  );
}

/** What a file probably is, by its name. */
export function guessKind(file: string): ImageKind {
  if (/^(vmlinu[xz]|bzimage|kernel)/i.test(file)) return 'kernel';
  if (/initrd|initramfs|\.cpio(\.|$)/i.test(file)) return 'initrd';
  return 'disk';
}
