import type { OperationKind, StopRung, VmAction, VmOperation, VmStatus } from '@vmo/contract';

/** Colour by meaning; complete class names, so that the style sheet has them. The word is the status itself. */
export const vmStatusColors: Readonly<Record<VmStatus, string>> = {
  stopped: 'text-pending',
  starting: 'text-running',
  running: 'text-done',
  paused: 'text-pending',
  stopping: 'text-running',
  crashed: 'text-failed',
  unknown: 'text-lost',
};

export const actionWords: Readonly<Record<VmAction, string>> = {
  start: 'Start',
  stop: 'Stop',
  'force-stop': 'Force stop',
  reset: 'Reset',
  pause: 'Pause',
  resume: 'Resume',
};

export const actionHints: Readonly<Record<VmAction, string>> = {
  start: 'Start the machine',
  stop: 'Ask the guest to shut down: guest agent, power button, then less politely',
  'force-stop': 'Pull the plug: what the guest has not written to its disks is lost',
  reset: 'As the reset button: what the guest has not written to its disks is lost',
  pause: 'Stand still: memory is kept, nothing runs',
  resume: 'Go on after a pause',
};

/** These ask first: what they take cannot be given back. */
export const asksFirst = (action: VmAction): boolean => action === 'force-stop' || action === 'reset';

/** What goes on now, as in “stopping”. */
export const kindDoing: Readonly<Record<OperationKind, string>> = {
  create: 'making the machine',
  start: 'starting',
  stop: 'stopping',
  'force-stop': 'pulling the plug',
  reset: 'resetting',
  pause: 'pausing',
  resume: 'resuming',
  clone: 'copying the disks',
  delete: 'deleting',
  'attach-disk': 'attaching a disk',
  'detach-disk': 'detaching a disk',
  'resize-disk': 'growing a disk',
  resize: 'changing CPUs or memory',
  change: 'changing the settings',
  snapshot: 'taking a snapshot',
  restore: 'going back to a snapshot',
  'delete-snapshot': 'deleting a snapshot',
};

/** What was done, as a line of a history. */
export const kindWords: Readonly<Record<OperationKind, string>> = {
  create: 'create',
  start: 'start',
  stop: 'stop',
  'force-stop': 'force stop',
  reset: 'reset',
  pause: 'pause',
  resume: 'resume',
  clone: 'clone',
  delete: 'delete',
  'attach-disk': 'attach disk',
  'detach-disk': 'detach disk',
  'resize-disk': 'grow disk',
  resize: 'resize',
  change: 'change',
  snapshot: 'snapshot',
  restore: 'restore',
  'delete-snapshot': 'delete snapshot',
};

export const endedByWords: Readonly<Record<StopRung, string>> = {
  guest: 'the guest shut itself down',
  'guest-agent': 'the guest agent, as asked',
  acpi: 'the power button (ACPI), as asked',
  quit: 'QEMU’s quit: the guest did not react to the power button',
  sigterm: 'SIGTERM: QEMU did not react to quit',
  sigkill: 'SIGKILL: nothing gentler helped',
  crash: 'a crash that nobody asked for',
};

/** Why a wait may take long. */
export function whyLong({ kind, status }: Pick<VmOperation, 'kind' | 'status'>): string {
  if (status === 'queued') return 'it waits for its turn';
  if (kind === 'stop') return 'the guest gets time to shut down before it is done less politely';
  if (kind === 'detach-disk') return 'the guest has to let go of it';
  if (kind === 'snapshot' || kind === 'restore') return 'memory and disks are written';
  if (kind === 'clone' || kind === 'create') return 'disks are written';
  return 'it has been asked for and goes on';
}
