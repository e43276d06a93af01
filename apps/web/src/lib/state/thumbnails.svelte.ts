import type { VmId } from '@vmo/contract';
import { SvelteMap } from 'svelte/reactivity';
import { api } from './api.ts';

/** Younger pictures are not asked for again, in milliseconds; the server keeps one as long. */
const keepMs = 30_000;
/** A row that is only passed by asks for nothing, in milliseconds. */
const restMs = 250;
/** Pictures that are kept, so that rows that come back show theirs at once: some 60 KB each. */
const most = 200;

/** Small pictures of the screens of machines that somebody sees. */
class Thumbnails {
  #pictures = new SvelteMap<VmId, ImageBitmap>();
  #asked = new Map<VmId, number>();

  get(id: VmId): ImageBitmap | undefined {
    return this.#pictures.get(id);
  }

  /** Keeps the picture of a machine new as long as it is in sight. @returns the way to stop */
  watch(id: VmId): () => void {
    const timers: { rest?: ReturnType<typeof setTimeout>; again?: ReturnType<typeof setInterval> } = {};
    const look = (): void => {
      if (!document.hidden) void this.#load(id);
    };
    timers.rest = setTimeout(() => {
      look();
      timers.again = setInterval(look, keepMs);
    }, restMs);
    return () => {
      clearTimeout(timers.rest);
      clearInterval(timers.again);
    };
  }

  /** It runs no more: what was on its screen is past. */
  forget(id: VmId): void {
    this.#pictures.delete(id);
    this.#asked.delete(id);
  }

  async #load(id: VmId): Promise<void> {
    const now = performance.now();
    if (now - (this.#asked.get(id) ?? -Infinity) < keepMs - restMs) return;
    this.#asked.set(id, now);
    try {
      const response = await api.download('getVmThumbnail', { params: { vmId: id } });
      const picture = await createImageBitmap(await response.blob());
      this.#pictures.delete(id);
      this.#pictures.set(id, picture);
      const [oldest] = this.#pictures.keys();
      if (this.#pictures.size > most && oldest !== undefined) this.#pictures.delete(oldest);
    } catch {
      // A machine that just ended, or does not answer: its place stays empty, which is what there is to see.
    }
  }
}

export const thumbnails = new Thumbnails();
