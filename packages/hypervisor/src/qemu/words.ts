import type { StopRung } from '@vmo/contract';
import type { MachineEvent } from '../driver.ts';
import { isQmpEvent } from '../qmp/command.ts';
import type { QmpEvent } from '../qmp/messages.ts';
import type { ShutdownCause } from '../qmp/schema.generated.ts';

export interface MachineEnd {
  rung: StopRung;
  words: string;
}

export const rungWords: Readonly<Record<StopRung, string>> = {
  guest: 'the guest shut itself down',
  'guest-agent': 'the guest agent shut it down',
  acpi: 'powered down by ACPI',
  quit: 'QEMU quit',
  sigterm: 'SIGTERM ended it',
  sigkill: 'SIGKILL ended it',
  crash: 'its process died without being asked to',
};

/**
 * @param cause QEMU's own word, where it could say one
 * @param tried the last rung of our ladder; null: nobody climbed
 */
export function endOf(cause: ShutdownCause | null, tried: StopRung | null): MachineEnd {
  const end = (rung: StopRung, words = rungWords[rung]): MachineEnd => ({ rung, words });
  switch (cause) {
    case 'guest-shutdown':
    case 'guest-reset':
      return end(tried === 'guest-agent' || tried === 'acpi' ? tried : 'guest');
    case 'host-qmp-quit':
    case 'host-ui':
      return end('quit');
    case 'host-signal':
      return end('sigterm');
    case 'guest-panic':
      return end('crash', 'the guest panicked');
    case 'host-error':
      return end('crash', 'QEMU gave up after an error');
    case 'none':
    case 'host-qmp-system-reset':
    case 'subsystem-reset':
    case 'snapshot-load':
    case null:
      // A guest or a QEMU that ends as it was asked to says so; only signals may leave no word.
      return end(tried === 'sigterm' || tried === 'sigkill' ? tried : 'crash');
  }
}

/** Told in numbers by every guest, and of no use to anybody who watches. */
const noise = new Set(['RTC_CHANGE', 'NIC_RX_FILTER_CHANGED', 'JOB_STATUS_CHANGE', 'BALLOON_CHANGE']);

/** null: not worth telling. */
export function describeEvent(event: QmpEvent): MachineEvent | null {
  if (noise.has(event.event)) return null;
  return { name: event.event, words: wordsFor(event) };
}

function wordsFor(event: QmpEvent): string {
  if (isQmpEvent(event, 'SHUTDOWN')) return `shutting down (${event.data.reason})`;
  if (isQmpEvent(event, 'RESET')) return event.data.guest ? 'the guest reset itself' : 'it was reset';
  if (isQmpEvent(event, 'POWERDOWN')) return 'the power button was pressed';
  if (isQmpEvent(event, 'STOP')) return 'paused';
  if (isQmpEvent(event, 'RESUME')) return 'running on';
  if (isQmpEvent(event, 'GUEST_PANICKED')) return 'the guest panicked';
  if (isQmpEvent(event, 'DEVICE_DELETED'))
    return `the guest has let go of ${event.data.device ?? event.data.path}`;
  if (isQmpEvent(event, 'DEVICE_UNPLUG_GUEST_ERROR'))
    return `the guest keeps ${event.data.device ?? event.data.path}`;
  if (isQmpEvent(event, 'BLOCK_IO_ERROR')) return `a disk fails: ${event.data.reason}`;
  if (isQmpEvent(event, 'VSERPORT_CHANGE'))
    return event.data.open ? 'the guest agent is there' : 'the guest agent has gone';
  return event.event.toLowerCase().replaceAll('_', ' ');
}
