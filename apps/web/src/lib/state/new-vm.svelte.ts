import type { NewVm, Vm } from '@vmo/contract';
import { readSize } from '../units.ts';
import { api, baseUrl } from './api.ts';
import { asError } from './session.svelte.ts';
import { storage } from './storage.svelte.ts';
import { vmHost } from './vm-host.svelte.ts';
import { vms } from './vms.svelte.ts';

export type VmSource = 'image' | 'template' | 'empty' | 'kernel';

export const newVmFields = [
  'name',
  'template',
  'image',
  'diskSizeBytes',
  'boot',
  'boot.kernel',
  'boot.initrd',
  'boot.append',
  'cpus',
  'memoryMib',
  'network',
  'network.forward',
] as const;

/** A machine that is about to be made; begins with what works for most. */
export class NewVmForm {
  source: VmSource = $state('image');
  name = $state(freeName());
  image = $state('');
  template = $state('');
  kernel = $state('');
  initrd = $state('');
  append = $state('console=ttyS0');
  /** As typed. Empty with an image or template: theirs. */
  diskSize = $state('');
  cpus = $state('1');
  memory = $state('512');
  network: 'user' | 'restricted' | 'none' = $state('user');
  forward = $state('22');
  display: 'vnc' | 'none' = $state('vnc');
  start = $state(true);
  busy = $state(false);
  error: Error | null = $state.raw(null);

  readonly disks = $derived(storage.images.filter(({ kind, state }) => kind === 'disk' && state === 'ready'));
  readonly kernels = $derived(
    storage.images.filter(({ kind, state }) => kind === 'kernel' && state === 'ready'),
  );
  readonly initrds = $derived(
    storage.images.filter(({ kind, state }) => kind === 'initrd' && state === 'ready'),
  );
  readonly templates = $derived(storage.templates.filter(({ reason }) => reason === null));

  constructor() {
    if (this.disks.length === 0 && this.kernels.length > 0) this.source = 'kernel';
    else if (this.disks.length === 0) this.source = 'empty';
    const spare = vmHost.host?.freeMemoryMib ?? Infinity;
    this.memory = spare > 4096 ? '1024' : '512';
    this.choose(this.source);
  }

  choose(source: VmSource): void {
    this.source = source;
    this.image ||= this.disks[0]?.name ?? '';
    this.template ||= this.templates[0]?.id ?? '';
    this.kernel ||= this.kernels[0]?.name ?? '';
    this.initrd ||= this.initrds[0]?.name ?? '';
    if (source === 'empty') this.diskSize ||= '20 GiB';
    else if (this.diskSize === '20 GiB') this.diskSize = '';
  }

  /** What is wrong with what was typed, before the server is asked; by field. */
  readonly wrong: Readonly<Record<string, string>> = $derived.by(() => {
    const found: Record<string, string> = {};
    if (this.diskSize.trim() !== '' && readSize(this.diskSize) === null)
      found.diskSizeBytes = 'write a size such as 20 GiB or 512 MiB';
    if (!/^\d+$/.test(this.cpus.trim())) found.cpus = 'a whole number';
    if (!/^\d+$/.test(this.memory.trim())) found.memoryMib = 'a whole number of MiB';
    if (!this.#ports.every(Number.isInteger)) found['network.forward'] = 'port numbers, as 22, 80';
    if (this.source === 'image' && !this.image) found.image = 'there is no image yet: upload one first';
    if (this.source === 'template' && !this.template) found.template = 'there is no template yet';
    if (this.source === 'kernel' && !this.kernel)
      found['boot.kernel'] = 'there is no kernel yet: upload one first';
    return found;
  });

  get #ports(): number[] {
    return this.forward
      .split(/[\s,]+/)
      .filter(Boolean)
      .map(Number);
  }

  /** What is sent. */
  get body(): NewVm {
    const size = readSize(this.diskSize);
    const wantsSize = this.source !== 'template' && size !== null;
    return {
      name: this.name.trim(),
      ...(this.source === 'image' ? { image: this.image } : {}),
      ...(this.source === 'template' ? { template: this.template } : {}),
      ...(wantsSize ? { diskSizeBytes: size } : {}),
      ...(this.source === 'kernel'
        ? {
            boot: {
              from: 'kernel' as const,
              kernel: this.kernel,
              ...(this.initrd ? { initrd: this.initrd } : {}),
              append: this.append,
            },
          }
        : {}),
      ...(this.source === 'template' ? {} : { cpus: Number(this.cpus), memoryMib: Number(this.memory) }),
      ...(this.network === 'none'
        ? { network: { mode: 'none' as const } }
        : {
            network: { mode: 'user' as const, restrict: this.network === 'restricted', forward: this.#ports },
          }),
      ...(this.display === 'none' ? { display: 'none' as const } : {}),
      start: this.start,
    };
  }

  /** The same, for a shell. */
  get curl(): string {
    const json = JSON.stringify(this.body).replaceAll("'", `'\\''`);
    return [
      `curl -sS -X POST ${baseUrl}/api/v1/vms \\`,
      `  -H "Authorization: Bearer $TOKEN" \\`,
      `  -H 'Content-Type: application/json' \\`,
      `  -d '${json}'`,
    ].join('\n');
  }

  /** @returns the machine; null: see `error` */
  async save(): Promise<Vm | null> {
    this.busy = true;
    this.error = null;
    try {
      const { vm, operation } = await api.call('createVm', { body: this.body });
      vms.put(vm);
      vms.note(operation);
      return vm;
    } catch (error) {
      this.error = asError(error);
      return null;
    } finally {
      this.busy = false;
    }
  }
}

/** `vm-1`, or the first number after it that is free. */
function freeName(): string {
  const taken = new Set([...vms.values()].map(({ name }) => name));
  let number = 1;
  while (taken.has(`vm-${String(number)}`)) number += 1;
  return `vm-${String(number)}`;
}
