import type { MachineRequest, MachineSpec } from '@vmo/contract';
import type { QemuFeatures } from '../probe/trial.ts';
import { sandboxArgument } from '../probe/trial.ts';
import { blockNodes, type Layer } from './block.ts';
import { bootDescriptor, memoryDescriptor, requestDescriptors } from './launcher.ts';
import { deviceId, freePorts, fromMachine, nodeName, serialOf, sockets } from './layout.ts';
import { option } from './option.ts';

interface CommandLine {
  spec: MachineSpec;
  /** Of each disk of the spec, in the same order. */
  layers: readonly (readonly Layer[])[];
  accelerator: 'kvm' | 'tcg';
  features: Pick<QemuFeatures, 'sandbox' | 'virtioMem'>;
  ports: readonly { guest: number; host: number }[];
  tap: string | null;
  /** It goes on from memory that was kept. */
  isRestored?: boolean;
}

/** Among the kernel's arguments: this machine was started for a simulation request. */
export const requestWord = 'vmo.request';
/** Linux takes memory in blocks of 128 MiB: of less, nothing. */
const memoryBlockMib = 128;
/** Ports that share one slot of the bus, as its functions. */
const functions = 8;
const firstPortSlot = 0x10;

/** Where a disk that is there at the start sits: the first stays, so it needs no place from which it could be taken. */
const coldPort = (index: number): string => (index === 0 ? 'pcie.0' : portName(freePorts + index));
const portName = (number: number): string => `port${number}`;
const portCount = (disks: number): number => freePorts + Math.max(disks - 1, 0);

/** The arguments of QEMU. Paths are relative to the machine's folder. */
export function buildArguments(line: CommandLine): string[] {
  const { spec, accelerator, features } = line;
  return [
    ...['-nodefaults', '-no-user-config', '-display', 'none'],
    ...['-name', option(null, { guest: spec.name, 'debug-threads': true }), '-uuid', spec.id],
    ...(features.sandbox ? ['-sandbox', sandboxArgument] : []),
    // Without a screen the firmware talks to the serial console, too; with a kernel it has nothing to say.
    '-machine',
    option('q35', {
      accel: accelerator,
      ...(spec.display === 'none' && spec.boot.from === 'disk' && { graphics: false }),
    }),
    ...['-cpu', accelerator === 'kvm' ? 'host' : 'max'],
    ...['-smp', option(null, { cpus: spec.cpus, maxcpus: Math.max(spec.cpus, spec.maxCpus) })],
    ...memory(spec, features.virtioMem),
    ...consoles(spec),
    // A panic is told even where the kernel's words do not come to the console.
    ...(spec.request ? [...runnerPorts(spec.request), '-device', 'pvpanic-pci'] : []),
    ...rootPorts(spec.disks.length),
    ...disks(line),
    ...boot(spec),
    ...network(line),
    ...[
      '-object',
      option('rng-builtin', { id: 'random' }),
      '-device',
      option('virtio-rng-pci', { rng: 'random' }),
    ],
    ...(line.isRestored === true ? ['-incoming', `fd:${memoryDescriptor}`] : []),
    ...spec.arguments,
  ];
}

function memory({ memoryMib, maxMemoryMib }: MachineSpec, virtioMem: boolean): string[] {
  const balloon = ['-device', option('virtio-balloon-pci', { id: 'balloon0', 'deflate-on-oom': true })];
  if (maxMemoryMib <= memoryMib || !virtioMem)
    return ['-m', option(null, { size: `${memoryMib}M` }), ...balloon];
  const more = Math.ceil((maxMemoryMib - memoryMib) / memoryBlockMib) * memoryBlockMib;
  return [
    ...['-m', option(null, { size: `${memoryMib}M`, slots: 1, maxmem: `${memoryMib + more}M` })],
    // Not reserved: it is taken from the host when the guest gets it.
    '-object',
    option('memory-backend-ram', { id: 'more', size: `${more}M`, reserve: false }),
    ...['-device', option('virtio-mem-pci', { id: 'memory0', memdev: 'more', 'requested-size': 0 })],
    ...balloon,
  ];
}

function consoles({ display, boot }: MachineSpec): string[] {
  const socket = (id: string, path: string, more: Record<string, string | boolean> = {}) => [
    '-chardev',
    option('socket', { id, path, server: true, wait: false, ...more }),
  ];
  return [
    ...['-add-fd', option(null, { fd: bootDescriptor, set: 1 })],
    // QEMU writes what the guest says to the file first, whether or not somebody is connected.
    ...socket('serial0', sockets.serial, { logfile: '/dev/fdset/1', logappend: true }),
    ...['-serial', 'chardev:serial0'],
    ...socket('qmp', sockets.qmp),
    ...['-mon', option(null, { chardev: 'qmp', mode: 'control' })],
    ...socket('qmp2', sockets.qmp2),
    ...['-mon', option(null, { chardev: 'qmp2', mode: 'control' })],
    ...socket('qga0', sockets.agent),
    ...['-device', option('virtio-serial-pci', { id: 'serials' })],
    '-device',
    option('virtserialport', {
      bus: 'serials.0',
      chardev: 'qga0',
      id: 'agent0',
      name: 'org.qemu.guest_agent.0',
    }),
    // A tablet says where the pointer is, where a mouse says how far it went, and would drift from the viewer's.
    ...(display === 'vnc'
      ? ['-device', 'VGA', '-device', 'qemu-xhci', '-device', 'usb-tablet', '-vnc', `unix:${sockets.vnc}`]
      : []),
    // GRUB as Debian installs it asks the firmware for a screen, and without one asks for ever (SeaBIOS 1.16).
    ...(display === 'none' && boot.from === 'disk' ? ['-device', 'VGA'] : []),
  ];
}

/**
 * What the runner in the guest talks by: what it says goes into files, which QEMU writes by itself, whether or not
 * anybody of us is there. The control port comes last: where it is, the others are. Where a channel was asked for, they have
 * names that a runner which the guest starts by itself does not look for.
 */
const runnerPorts = ({ channel }: Pick<MachineRequest, 'channel'>): string[] => {
  const prefix = channel === null || channel === 'runner' ? 'vmo' : 'vmo-asked';
  const runnerPort = (name: string) =>
    option('virtserialport', {
      ...{ bus: 'serials.0', chardev: `vmo-${name}`, id: `port-${name}`, name: `${prefix}.${name}` },
    });
  return [
    ...Object.entries(requestDescriptors).flatMap(([name, descriptor], index) => {
      const set = index + 2;
      return [
        ...['-add-fd', option(null, { fd: descriptor, set })],
        ...['-chardev', option('file', { id: `vmo-${name}`, path: `/dev/fdset/${set}`, append: true })],
        ...['-device', runnerPort(name)],
      ];
    }),
    ...['-chardev', option('socket', { id: 'vmo-ctl', path: sockets.control, server: true, wait: false })],
    ...['-device', runnerPort('ctl')],
  ];
};

function rootPorts(diskCount: number): string[] {
  return Array.from({ length: portCount(diskCount) }, (_, index) => [
    '-device',
    option('pcie-root-port', {
      ...{ id: portName(index + 1), bus: 'pcie.0', chassis: index + 1 },
      addr: `0x${(firstPortSlot + Math.floor(index / functions)).toString(16)}.0x${index % functions}`,
      multifunction: true,
    }),
  ]).flat();
}

function disks({ spec, layers }: CommandLine): string[] {
  const nodes = blockNodes(layers).flatMap((node) => ['-blockdev', JSON.stringify(node)]);
  const devices = spec.disks.flatMap((disk, index) => [
    '-device',
    option('virtio-blk-pci', {
      ...{ id: deviceId(disk.id), drive: nodeName(layers[index]?.[0]?.file ?? disk.file) },
      ...{ bus: coldPort(index), serial: serialOf(disk.id) },
      ...(index === 0 && { bootindex: 1 }),
    }),
  ]);
  return [...nodes, ...devices];
}

function boot(spec: MachineSpec): string[] {
  if (spec.boot.from === 'disk') return [];
  const { kernel, initrd } = spec.boot;
  // The small guest starts its runner then.
  const append = spec.request ? `${spec.boot.append} ${requestWord}`.trim() : spec.boot.append;
  return [
    ...['-kernel', fromMachine(kernel), ...(initrd === null ? [] : ['-initrd', fromMachine(initrd)])],
    ...(append === '' ? [] : ['-append', append]),
  ];
}

function network({ spec, ports, tap }: CommandLine): string[] {
  const device = ['-device', option('virtio-net-pci', { id: 'nic0', netdev: 'net0', mac: macOf(spec.id) })];
  switch (spec.network.mode) {
    case 'none':
      return [];
    case 'user': {
      const forwards = ports.map(({ guest, host }) => `hostfwd=tcp:127.0.0.1:${host}-:${guest}`);
      const base = option('user', { id: 'net0', restrict: spec.network.restrict });
      return ['-netdev', [base, ...forwards].join(','), ...device];
    }
    case 'bridge': {
      const how = { id: 'net0', ifname: tap ?? '', script: 'no', downscript: 'no' };
      return ['-netdev', option('tap', how), ...device];
    }
  }
}

/** The same at every start, and another one for every machine: of QEMU's own range, with the random end of the id. */
export function macOf(id: string): string {
  const end = id.replaceAll('-', '').slice(-6);
  return `52:54:00:${end.slice(0, 2)}:${end.slice(2, 4)}:${end.slice(4, 6)}`;
}
