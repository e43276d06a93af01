import type { MachineRecord } from './record.ts';
import { diskIdOf } from './layout.ts';
import type { Talk } from './talk.ts';

const mib = 1024 * 1024;
const folders = ['/machine/peripheral', '/machine/peripheral-anon'];

/**
 * What memory that was kept fits to: QEMU reads it part by part into a machine that has the same parts in the same places,
 * and finds out that it has not when the disks have gone back already.
 * @returns by part, in words; a disk by its id
 */
export async function describeHardware(
  { execute }: Talk,
  { version, accelerator }: Pick<MachineRecord, 'version' | 'accelerator'>,
): Promise<Record<string, string>> {
  const [slots, memory, added] = await Promise.all([
    execute('query-hotpluggable-cpus'),
    execute('query-memory-size-summary'),
    execute('query-memory-devices'),
  ]);
  const present = slots.filter((slot) => slot['qom-path'] !== undefined).length;
  const more = added.map((device) => (device.type === 'virtio-mem' ? device.data['max-size'] / mib : 0));
  const parts: Record<string, string> = {
    QEMU: version,
    accelerator,
    CPUs: `${present} of ${slots.length}`,
    memory: `${memory['base-memory'] / mib} MiB, and up to ${more.reduce((sum, one) => sum + one, 0)} MiB more`,
  };
  for (const folder of folders) {
    for (const { name, type } of await execute('qom-list', { path: folder })) {
      const device = /^child<(.+)>$/.exec(type)?.[1];
      // Places alone: which of them are taken, the devices say.
      if (device === undefined || device === 'pcie-root-port') continue;
      const bus = await execute('qom-get', { path: `${folder}/${name}`, property: 'parent_bus' }).catch(
        () => null,
      );
      const place = typeof bus === 'string' ? bus.split('/').at(-1) : undefined;
      const disk = diskIdOf(name);
      parts[disk ?? name] = place === undefined || place === '' ? device : `${device} at ${place}`;
    }
  }
  return parts;
}
