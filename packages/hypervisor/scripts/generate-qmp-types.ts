import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';
import type { QmpGreeting } from '../src/qmp/messages.ts';
import { readSchema, type SchemaEntry } from './qmp-schema.ts';
import { renderTypes, type Wanted } from './render-types.ts';

/*
 * Writes src/qmp/schema.generated.ts. For another command or event, add it below and run, with the oldest QEMU that is
 * supported:
 *
 *   node packages/hypervisor/scripts/generate-qmp-types.ts [qemu-system-x86_64]
 */

export const wanted: Wanted = {
  commands: [
    ...['qmp_capabilities', 'query-version', 'query-status', 'query-uuid', 'query-name', 'query-kvm'],
    ...['stop', 'cont', 'system_powerdown', 'system_reset', 'quit'],
    ...['query-cpus-fast', 'query-hotpluggable-cpus', 'query-machines', 'query-cpu-definitions'],
    ...['query-balloon', 'balloon', 'query-memory-devices', 'query-memory-size-summary'],
    ...['query-block', 'query-blockstats', 'query-named-block-nodes', 'query-block-jobs'],
    ...['query-jobs', 'job-complete', 'job-dismiss', 'job-cancel'],
    ...['blockdev-add', 'blockdev-del', 'blockdev-create', 'block_resize'],
    ...['blockdev-snapshot', 'blockdev-snapshot-sync', 'block-commit', 'blockdev-backup', 'transaction'],
    ...['snapshot-save', 'snapshot-load', 'snapshot-delete'],
    ...['migrate', 'query-migrate', 'migrate-set-parameters', 'migrate-set-capabilities'],
    ...['device_add', 'device_del', 'device-list-properties', 'query-pci'],
    ...['object-add', 'object-del', 'qom-get', 'qom-set', 'qom-list'],
    ...['netdev_add', 'netdev_del', 'set_link', 'query-chardev', 'chardev-change'],
    ...['screendump', 'send-key', 'query-vnc', 'change-vnc-password', 'add_client'],
    ...['query-stats', 'human-monitor-command'],
  ],
  events: [
    ...['SHUTDOWN', 'POWERDOWN', 'RESET', 'STOP', 'RESUME', 'SUSPEND', 'WAKEUP'],
    ...['GUEST_PANICKED', 'GUEST_CRASHLOADED', 'WATCHDOG'],
    ...['DEVICE_DELETED', 'DEVICE_UNPLUG_GUEST_ERROR', 'MEMORY_DEVICE_SIZE_CHANGE', 'BALLOON_CHANGE'],
    ...['JOB_STATUS_CHANGE', 'BLOCK_JOB_COMPLETED', 'BLOCK_JOB_ERROR', 'BLOCK_JOB_READY', 'BLOCK_IO_ERROR'],
    ...['MIGRATION', 'VNC_CONNECTED', 'VNC_DISCONNECTED', 'VSERPORT_CHANGE', 'RTC_CHANGE'],
    ...['NIC_RX_FILTER_CHANGED'],
  ],
  // Properties of the device stand beside `driver`; device-list-properties tells which there are.
  open: ['device_add'],
  // As QEMU's own documentation calls them.
  names: {
    QueryStatusReturn: 'StatusInfo',
    StatusInfoStatus: 'RunState',
    QueryCpusFastReturnItem: 'CpuInfo',
    CpuInfoProps: 'CpuInstanceProperties',
    QueryHotpluggableCpusReturnItem: 'HotpluggableCpu',
    QueryMachinesReturnItem: 'MachineInfo',
    QueryCpuDefinitionsReturnItem: 'CpuDefinitionInfo',
    QueryMemoryDevicesReturnItem: 'MemoryDeviceInfo',
    QueryBlockReturnItem: 'BlockInfo',
    QueryNamedBlockNodesReturnItem: 'BlockDeviceInfo',
    BlockDeviceInfoImage: 'ImageInfo',
    QueryBlockstatsReturnItem: 'BlockStats',
    QueryBlockJobsReturnItem: 'BlockJobInfo',
    BlockJobInfoStatus: 'JobStatus',
    QueryJobsReturnItem: 'JobInfo',
    JobInfoType: 'JobType',
    BlockdevAddArguments: 'BlockdevOptions',
    BlockdevOptionsBlkdebugImage: 'BlockdevRef',
    BlockdevOptionsQcow2Backing: 'BlockdevRefOrNull',
    BlockdevCreateArgumentsOptions: 'BlockdevCreateOptions',
    TransactionArgumentsActionsItem: 'TransactionAction',
    QueryMigrateReturn: 'MigrationInfo',
    MigrationInfoStatus: 'MigrationStatus',
    DeviceListPropertiesReturnItem: 'ObjectPropertyInfo',
    QueryPciReturnItem: 'PciInfo',
    PciInfoDevicesItem: 'PciDeviceInfo',
    ObjectAddArguments: 'ObjectOptions',
    NetdevAddArguments: 'NetdevOptions',
    QueryChardevReturnItem: 'ChardevInfo',
    ChardevChangeArgumentsBackend: 'ChardevBackend',
    QueryVncReturn: 'VncInfo',
    SendKeyArgumentsKeysItem: 'KeyValue',
    KeyValueQcodeData: 'QKeyCode',
    QueryStatsReturnItem: 'StatsResult',
    ShutdownEventReason: 'ShutdownCause',
  },
};

export const generatedFile = fileURLToPath(new URL('../src/qmp/schema.generated.ts', import.meta.url));

/** Which QEMU it is, down to the distribution's build: what is compiled in decides about the schema, too. */
export function versionLine({ version }: QmpGreeting): string {
  const { major, minor, micro } = version;
  return `// From QEMU ${major}.${minor}.${micro} (${version.package || 'no package'}).`;
}

export async function generate(greeting: QmpGreeting, schema: readonly SchemaEntry[]): Promise<string> {
  const text = [
    '// Written by packages/hypervisor/scripts/generate-qmp-types.ts: do not edit.',
    versionLine(greeting),
    '// Another version may send members and words that are not here.',
    '',
    renderTypes(schema, wanted),
  ].join('\n');
  return format(text, { ...(await resolveConfig(generatedFile)), parser: 'typescript' });
}

if (import.meta.main) {
  const { greeting, schema } = await readSchema(process.argv[2] ?? 'qemu-system-x86_64');
  await writeFile(generatedFile, await generate(greeting, schema));
}
