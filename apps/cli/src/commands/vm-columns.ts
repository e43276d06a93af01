import type { Vm, VmSummary } from '@vmo/contract';
import type { Cli } from '../cli.ts';
import { oneLine, type Column } from '../output/table.ts';
import { agoWords, bytesWords } from '../output/words.ts';
import { idColumn } from './jobs.ts';

const mib = 1024 * 1024;

export function vmColumns(cli: Cli): Column<VmSummary>[] {
  return [
    { title: 'NAME', value: ({ name }) => name },
    { title: 'STATUS', value: ({ status }) => status, paint: cli.paint.status },
    { title: 'CPUS', value: ({ cpus }) => String(cpus), isRight: true },
    { title: 'MEMORY', value: ({ memoryMib }) => bytesWords(memoryMib * mib), isRight: true },
    {
      title: 'LOAD',
      value: ({ load }) => (load.at(-1) === undefined ? '' : `${String(Math.round(load.at(-1) ?? 0))} %`),
      isRight: true,
    },
    cli.output === 'table'
      ? { title: 'STARTED', value: ({ startedAt }) => agoWords(startedAt) }
      : { title: 'STARTED', value: ({ startedAt }) => startedAt ?? '' },
    idColumn(cli, ({ id }) => id),
    { title: 'REASON', value: ({ reason }) => reason ?? '', isFlexible: true },
  ];
}

function networkWords({ network, ports }: Vm): string {
  if (network.mode === 'none') return 'none';
  if (network.mode === 'bridge') return `bridge ${network.bridge}`;
  const forwarded = ports.map(({ guest, host }) => `127.0.0.1:${String(host)} → ${String(guest)}`);
  return [network.restrict ? 'user, closed to the outside' : 'user', ...forwarded].join(', ');
}

/** What `vmo vm show` says. */
export function vmFacts(cli: Cli, vm: Vm): [string, string | null][] {
  const disks = vm.disks.map(
    ({ name, format, sizeBytes, state, readOnly }) =>
      `${name} (${format}, ${bytesWords(sizeBytes)}${readOnly ? ', read-only' : ''}${state === 'attached' ? '' : `, ${state}`})`,
  );
  return [
    ['name', vm.name],
    ['id', vm.id],
    ['status', cli.paint.status(vm.status)],
    ['reason', vm.reason === null ? null : oneLine(vm.reason)],
    ['allowed now', vm.allowed.join(', ')],
    ['cpus', `${String(vm.cpus)} of ${String(vm.maxCpus)}`],
    ['memory', `${bytesWords(vm.memoryMib * mib)} of ${bytesWords(vm.maxMemoryMib * mib)}`],
    ['accelerator', vm.accelerator],
    ['network', networkWords(vm)],
    ['display', vm.display],
    ['disks', disks.join('; ')],
    ['boot', vm.boot.from === 'disk' ? 'from its first disk' : `kernel ${vm.boot.kernel}`],
    ['guest agent', vm.guestAgent ? 'answers' : null],
    ['pid', vm.pid === null ? null : String(vm.pid)],
    ['last run', vm.jobId === null ? null : `${vm.jobId} (vmo logs ${vm.jobId})`],
    ['ended by', vm.endedBy],
    ['created', `${vm.createdAt} by ${vm.createdBy}`],
    ['started', vm.startedAt],
  ];
}
