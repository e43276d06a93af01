import type { Disk, DiskId, Image, NewDisk, NewTemplate, Template, TemplateId } from '@vmo/contract';
import { api } from './api.ts';
import { asError } from './session.svelte.ts';
import { vms } from './vms.svelte.ts';

/** What goes on elsewhere – an upload, a check, a copy – is looked at again after this, in milliseconds. */
const lookAgainMs = 2_000;

/** What machines are made of: images, disks, templates. */
class Storage {
  images: readonly Image[] = $state.raw([]);
  disks: readonly Disk[] = $state.raw([]);
  templates: readonly Template[] = $state.raw([]);
  loaded = $state(false);
  error: Error | null = $state.raw(null);
  #asked = 0;

  async load(): Promise<void> {
    const asked = ++this.#asked;
    try {
      const [images, disks, templates] = await Promise.all([
        api.call('listImages'),
        api.call('listDisks'),
        api.call('listTemplates'),
      ]);
      if (asked !== this.#asked) return;
      this.images = images.images;
      this.disks = disks.disks;
      this.templates = templates.templates;
      this.error = null;
    } catch (error) {
      if (asked !== this.#asked) return;
      this.error = asError(error);
    }
    this.loaded = true;
  }

  /** Looks again while something is being received, checked or made, until stopped. */
  watch(): () => void {
    void this.load();
    const timer = setInterval(() => {
      const isMoving =
        this.images.some(({ state }) => state === 'uploading' || state === 'checking') ||
        this.disks.some(({ state }) => state === 'creating' || state === 'growing');
      if (isMoving && !document.hidden) void this.load();
    }, lookAgainMs);
    // What the operations of machines do to disks is told by them.
    vms.use();
    const stop = vms.onOperation(({ kind, finishedAt }) => {
      if (kind === 'resize-disk' && finishedAt !== null) void this.load();
    });
    return () => {
      clearInterval(timer);
      stop();
    };
  }

  image(name: string | null): Image | undefined {
    return this.images.find((image) => image.name === name);
  }

  /** An image as an answer told it. */
  put(image: Image): void {
    const others = this.images.filter(({ name }) => name !== image.name);
    this.images = [...others, image].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** @throws as the server said it; so do all below. */
  async deleteImage(name: string): Promise<void> {
    await api.call('deleteImage', { params: { imageName: name } });
    await this.load();
  }

  /** It is being made when this answers: `state` tells how it goes. */
  async addDisk(body: NewDisk): Promise<Disk> {
    const { disk } = await api.call('createDisk', { body });
    await this.load();
    return disk;
  }

  async resizeDisk(diskId: DiskId, sizeBytes: number): Promise<void> {
    const { operation } = await api.call('resizeDisk', { params: { diskId }, body: { sizeBytes } });
    if (operation) vms.note(operation);
    await this.load();
  }

  async deleteDisk(diskId: DiskId): Promise<void> {
    await api.call('deleteDisk', { params: { diskId } });
    await this.load();
  }

  async addTemplate(body: NewTemplate): Promise<void> {
    await api.call('createTemplate', { body });
    await this.load();
  }

  async deleteTemplate(templateId: TemplateId): Promise<void> {
    await api.call('deleteTemplate', { params: { templateId } });
    await this.load();
  }
}

export const storage = new Storage();
