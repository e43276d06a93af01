// Written by packages/hypervisor/scripts/generate-qmp-types.ts: do not edit.
// From QEMU 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3).
// Another version may send members and words that are not here.

/** An object without members. */
export type NoMembers = Record<string, never>;

/** Up to 64 bits in QEMU, where it is not said how many; beyond 2^53 the last digits are lost here. */
export type Integer = number;

export interface QmpCommands {
  qmp_capabilities: { arguments: QmpCapabilitiesArguments; returns: NoMembers };
  'query-version': { arguments: NoMembers; returns: QueryVersionReturn };
  'query-status': { arguments: NoMembers; returns: StatusInfo };
  'query-uuid': { arguments: NoMembers; returns: QueryUuidReturn };
  'query-name': { arguments: NoMembers; returns: QueryNameReturn };
  'query-kvm': { arguments: NoMembers; returns: QueryKvmReturn };
  stop: { arguments: NoMembers; returns: NoMembers };
  cont: { arguments: NoMembers; returns: NoMembers };
  system_powerdown: { arguments: NoMembers; returns: NoMembers };
  system_reset: { arguments: NoMembers; returns: NoMembers };
  quit: { arguments: NoMembers; returns: NoMembers };
  'query-cpus-fast': { arguments: NoMembers; returns: CpuInfo[] };
  'query-hotpluggable-cpus': { arguments: NoMembers; returns: HotpluggableCpu[] };
  'query-machines': { arguments: NoMembers; returns: MachineInfo[] };
  'query-cpu-definitions': { arguments: NoMembers; returns: CpuDefinitionInfo[] };
  'query-balloon': { arguments: NoMembers; returns: QueryBalloonReturn };
  balloon: { arguments: BalloonArguments; returns: NoMembers };
  'query-memory-devices': { arguments: NoMembers; returns: MemoryDeviceInfo[] };
  'query-memory-size-summary': { arguments: NoMembers; returns: QueryMemorySizeSummaryReturn };
  'query-block': { arguments: NoMembers; returns: BlockInfo[] };
  'query-blockstats': { arguments: QueryBlockstatsArguments; returns: BlockStats[] };
  'query-named-block-nodes': { arguments: QueryNamedBlockNodesArguments; returns: BlockDeviceInfo[] };
  'query-block-jobs': { arguments: NoMembers; returns: BlockJobInfo[] };
  'query-jobs': { arguments: NoMembers; returns: JobInfo[] };
  'job-complete': { arguments: JobCompleteArguments; returns: NoMembers };
  'job-dismiss': { arguments: JobDismissArguments; returns: NoMembers };
  'job-cancel': { arguments: JobCancelArguments; returns: NoMembers };
  'blockdev-add': { arguments: BlockdevOptions; returns: NoMembers };
  'blockdev-del': { arguments: BlockdevDelArguments; returns: NoMembers };
  'blockdev-create': { arguments: BlockdevCreateArguments; returns: NoMembers };
  block_resize: { arguments: BlockResizeArguments; returns: NoMembers };
  'blockdev-snapshot': { arguments: BlockdevSnapshotArguments; returns: NoMembers };
  'blockdev-snapshot-sync': { arguments: BlockdevSnapshotSyncArguments; returns: NoMembers };
  'block-commit': { arguments: BlockCommitArguments; returns: NoMembers };
  'blockdev-backup': { arguments: BlockdevBackupArguments; returns: NoMembers };
  transaction: { arguments: TransactionArguments; returns: NoMembers };
  'snapshot-save': { arguments: SnapshotSaveArguments; returns: NoMembers };
  'snapshot-load': { arguments: SnapshotLoadArguments; returns: NoMembers };
  'snapshot-delete': { arguments: SnapshotDeleteArguments; returns: NoMembers };
  migrate: { arguments: MigrateArguments; returns: NoMembers };
  'query-migrate': { arguments: NoMembers; returns: MigrationInfo };
  'migrate-set-parameters': { arguments: MigrateSetParametersArguments; returns: NoMembers };
  'migrate-set-capabilities': { arguments: MigrateSetCapabilitiesArguments; returns: NoMembers };
  device_add: { arguments: DeviceAddArguments; returns: NoMembers };
  device_del: { arguments: DeviceDelArguments; returns: NoMembers };
  'device-list-properties': { arguments: DeviceListPropertiesArguments; returns: ObjectPropertyInfo[] };
  'query-pci': { arguments: NoMembers; returns: PciInfo[] };
  'object-add': { arguments: ObjectOptions; returns: NoMembers };
  'object-del': { arguments: ObjectDelArguments; returns: NoMembers };
  'qom-get': { arguments: QomGetArguments; returns: unknown };
  'qom-set': { arguments: QomSetArguments; returns: NoMembers };
  'qom-list': { arguments: QomListArguments; returns: ObjectPropertyInfo[] };
  netdev_add: { arguments: NetdevOptions; returns: NoMembers };
  netdev_del: { arguments: NetdevDelArguments; returns: NoMembers };
  set_link: { arguments: SetLinkArguments; returns: NoMembers };
  'query-chardev': { arguments: NoMembers; returns: ChardevInfo[] };
  'chardev-change': { arguments: ChardevChangeArguments; returns: ChardevChangeReturn };
  screendump: { arguments: ScreendumpArguments; returns: NoMembers };
  'send-key': { arguments: SendKeyArguments; returns: NoMembers };
  'query-vnc': { arguments: NoMembers; returns: VncInfo };
  'change-vnc-password': { arguments: ChangeVncPasswordArguments; returns: NoMembers };
  add_client: { arguments: AddClientArguments; returns: NoMembers };
  'query-stats': { arguments: QueryStatsArguments; returns: StatsResult[] };
  'human-monitor-command': { arguments: HumanMonitorCommandArguments; returns: string };
}

/** The data of each event. */
export interface QmpEvents {
  SHUTDOWN: ShutdownEvent;
  POWERDOWN: NoMembers;
  RESET: ResetEvent;
  STOP: NoMembers;
  RESUME: NoMembers;
  SUSPEND: NoMembers;
  WAKEUP: NoMembers;
  GUEST_PANICKED: GuestPanickedEvent;
  GUEST_CRASHLOADED: GuestCrashloadedEvent;
  WATCHDOG: WatchdogEvent;
  DEVICE_DELETED: DeviceDeletedEvent;
  DEVICE_UNPLUG_GUEST_ERROR: DeviceUnplugGuestErrorEvent;
  MEMORY_DEVICE_SIZE_CHANGE: MemoryDeviceSizeChangeEvent;
  BALLOON_CHANGE: BalloonChangeEvent;
  JOB_STATUS_CHANGE: JobStatusChangeEvent;
  BLOCK_JOB_COMPLETED: BlockJobCompletedEvent;
  BLOCK_JOB_ERROR: BlockJobErrorEvent;
  BLOCK_JOB_READY: BlockJobReadyEvent;
  BLOCK_IO_ERROR: BlockIoErrorEvent;
  MIGRATION: MigrationEvent;
  VNC_CONNECTED: VncConnectedEvent;
  VNC_DISCONNECTED: VncDisconnectedEvent;
  VSERPORT_CHANGE: VserportChangeEvent;
  RTC_CHANGE: RtcChangeEvent;
  NIC_RX_FILTER_CHANGED: NicRxFilterChangedEvent;
}

export interface QmpCapabilitiesArguments {
  enable?: QmpCapabilitiesArgumentsEnableItem[];
}

export interface QueryVersionReturn {
  qemu: QueryVersionReturnQemu;
  package: string;
}

export interface StatusInfo {
  running: boolean;
  singlestep: boolean;
  status: RunState;
}

export interface QueryUuidReturn {
  UUID: string;
}

export interface QueryNameReturn {
  name?: string;
}

export interface QueryKvmReturn {
  enabled: boolean;
  present: boolean;
}

export type CpuInfo = {
  'cpu-index': Integer;
  'qom-path': string;
  'thread-id': Integer;
  props?: CpuInstanceProperties;
} & (
  | ({ target: 's390x' } & CpuInfoS390x)
  | {
      target:
        | 'aarch64'
        | 'alpha'
        | 'arm'
        | 'avr'
        | 'cris'
        | 'hppa'
        | 'i386'
        | 'loongarch64'
        | 'm68k'
        | 'microblaze'
        | 'microblazeel'
        | 'mips'
        | 'mips64'
        | 'mips64el'
        | 'mipsel'
        | 'nios2'
        | 'or1k'
        | 'ppc'
        | 'ppc64'
        | 'riscv32'
        | 'riscv64'
        | 'rx'
        | 'sh4'
        | 'sh4eb'
        | 'sparc'
        | 'sparc64'
        | 'tricore'
        | 'x86_64'
        | 'xtensa'
        | 'xtensaeb';
    }
);

export interface HotpluggableCpu {
  type: string;
  'vcpus-count': Integer;
  props: CpuInstanceProperties;
  'qom-path'?: string;
}

export interface MachineInfo {
  name: string;
  alias?: string;
  'is-default'?: boolean;
  'cpu-max': Integer;
  'hotpluggable-cpus': boolean;
  'numa-mem-supported': boolean;
  deprecated: boolean;
  'default-cpu-type'?: string;
  'default-ram-id'?: string;
}

export interface CpuDefinitionInfo {
  name: string;
  'migration-safe'?: boolean;
  static: boolean;
  'unavailable-features'?: string[];
  typename: string;
  'alias-of'?: string;
  deprecated: boolean;
}

export interface QueryBalloonReturn {
  actual: Integer;
}

export interface BalloonArguments {
  value: Integer;
}

export type MemoryDeviceInfo =
  | ({ type: 'dimm' | 'nvdimm' } & MemoryDeviceInfoDimm)
  | ({ type: 'virtio-pmem' } & MemoryDeviceInfoVirtioPmem)
  | ({ type: 'virtio-mem' } & MemoryDeviceInfoVirtioMem)
  | ({ type: 'sgx-epc' } & MemoryDeviceInfoSgxEpc);

export interface QueryMemorySizeSummaryReturn {
  'base-memory': Integer;
  'plugged-memory'?: Integer;
}

export interface BlockInfo {
  device: string;
  qdev?: string;
  type: string;
  removable: boolean;
  locked: boolean;
  inserted?: BlockDeviceInfo;
  tray_open?: boolean;
  'io-status'?: BlockInfoIoStatus;
}

export interface QueryBlockstatsArguments {
  'query-nodes'?: boolean;
}

export interface BlockStats {
  device?: string;
  qdev?: string;
  'node-name'?: string;
  stats: BlockStatsStats;
  'driver-specific'?: BlockStatsDriverSpecific;
  parent?: BlockStats;
  backing?: BlockStats;
}

export interface QueryNamedBlockNodesArguments {
  flat?: boolean;
}

export interface BlockDeviceInfo {
  file: string;
  'node-name'?: string;
  ro: boolean;
  drv: string;
  backing_file?: string;
  backing_file_depth: Integer;
  encrypted: boolean;
  detect_zeroes: BlockDeviceInfoDetectZeroes;
  bps: Integer;
  bps_rd: Integer;
  bps_wr: Integer;
  iops: Integer;
  iops_rd: Integer;
  iops_wr: Integer;
  image: ImageInfo;
  bps_max?: Integer;
  bps_rd_max?: Integer;
  bps_wr_max?: Integer;
  iops_max?: Integer;
  iops_rd_max?: Integer;
  iops_wr_max?: Integer;
  bps_max_length?: Integer;
  bps_rd_max_length?: Integer;
  bps_wr_max_length?: Integer;
  iops_max_length?: Integer;
  iops_rd_max_length?: Integer;
  iops_wr_max_length?: Integer;
  iops_size?: Integer;
  group?: string;
  cache: BlockDeviceInfoCache;
  write_threshold: Integer;
  'dirty-bitmaps'?: BlockDeviceInfoDirtyBitmapsItem[];
}

export interface BlockJobInfo {
  type: string;
  device: string;
  len: Integer;
  offset: Integer;
  busy: boolean;
  paused: boolean;
  speed: Integer;
  'io-status': BlockInfoIoStatus;
  ready: boolean;
  status: JobStatus;
  'auto-finalize': boolean;
  'auto-dismiss': boolean;
  error?: string;
}

export interface JobInfo {
  id: string;
  type: JobType;
  status: JobStatus;
  'current-progress': Integer;
  'total-progress': Integer;
  error?: string;
}

export interface JobCompleteArguments {
  id: string;
}

export interface JobDismissArguments {
  id: string;
}

export interface JobCancelArguments {
  id: string;
}

export type BlockdevOptions = {
  'node-name'?: string;
  discard?: BlockdevOptionsDiscard;
  cache?: BlockdevOptionsCache;
  'read-only'?: boolean;
  'auto-read-only'?: boolean;
  'force-share'?: boolean;
  'detect-zeroes'?: BlockDeviceInfoDetectZeroes;
} & (
  | ({ driver: 'blkdebug' } & BlockdevOptionsBlkdebug)
  | ({ driver: 'blklogwrites' } & BlockdevOptionsBlklogwrites)
  | ({ driver: 'blkverify' } & BlockdevOptionsBlkverify)
  | ({ driver: 'blkreplay' } & BlockdevOptionsBlkreplay)
  | ({
      driver:
        'bochs' | 'cloop' | 'compress' | 'dmg' | 'parallels' | 'snapshot-access' | 'vdi' | 'vhdx' | 'vpc';
    } & BlockdevOptionsBochs)
  | ({ driver: 'copy-before-write' } & BlockdevOptionsCopyBeforeWrite)
  | ({ driver: 'copy-on-read' } & BlockdevOptionsCopyOnRead)
  | ({ driver: 'file' | 'host_cdrom' | 'host_device' } & BlockdevOptionsFile)
  | ({ driver: 'ftp' } & BlockdevOptionsFtp)
  | ({ driver: 'ftps' } & BlockdevOptionsFtps)
  | ({ driver: 'gluster' } & BlockdevOptionsGluster)
  | ({ driver: 'http' } & BlockdevOptionsHttp)
  | ({ driver: 'https' } & BlockdevOptionsHttps)
  | ({ driver: 'iscsi' } & BlockdevOptionsIscsi)
  | ({ driver: 'luks' } & BlockdevOptionsLuks)
  | ({ driver: 'nbd' } & BlockdevOptionsNbd)
  | ({ driver: 'nfs' } & BlockdevOptionsNfs)
  | ({ driver: 'null-aio' | 'null-co' } & BlockdevOptionsNullAio)
  | ({ driver: 'nvme' } & BlockdevOptionsNvme)
  | ({ driver: 'preallocate' } & BlockdevOptionsPreallocate)
  | ({ driver: 'qcow2' } & BlockdevOptionsQcow2)
  | ({ driver: 'qcow' } & BlockdevOptionsQcow)
  | ({ driver: 'qed' | 'vmdk' } & BlockdevOptionsQed)
  | ({ driver: 'quorum' } & BlockdevOptionsQuorum)
  | ({ driver: 'raw' } & BlockdevOptionsRaw)
  | ({ driver: 'rbd' } & BlockdevOptionsRbd)
  | ({ driver: 'replication' } & BlockdevOptionsReplication)
  | ({ driver: 'ssh' } & BlockdevOptionsSsh)
  | ({ driver: 'throttle' } & BlockdevOptionsThrottle)
  | ({ driver: 'vvfat' } & BlockdevOptionsVvfat)
);

export interface BlockdevDelArguments {
  'node-name': string;
}

export interface BlockdevCreateArguments {
  'job-id': string;
  options: BlockdevCreateOptions;
}

export interface BlockResizeArguments {
  device?: string;
  'node-name'?: string;
  size: Integer;
}

export interface BlockdevSnapshotArguments {
  node: string;
  overlay: string;
}

export interface BlockdevSnapshotSyncArguments {
  device?: string;
  'node-name'?: string;
  'snapshot-file': string;
  'snapshot-node-name'?: string;
  format?: string;
  mode?: BlockdevSnapshotSyncArgumentsMode;
}

export interface BlockCommitArguments {
  'job-id'?: string;
  device: string;
  'base-node'?: string;
  /** QEMU says: deprecated. */
  base?: string;
  'top-node'?: string;
  /** QEMU says: deprecated. */
  top?: string;
  'backing-file'?: string;
  speed?: Integer;
  'on-error'?: BlockCommitArgumentsOnError;
  'filter-node-name'?: string;
  'auto-finalize'?: boolean;
  'auto-dismiss'?: boolean;
}

export interface BlockdevBackupArguments {
  'job-id'?: string;
  device: string;
  sync: BlockdevBackupArgumentsSync;
  speed?: Integer;
  bitmap?: string;
  'bitmap-mode'?: BlockdevBackupArgumentsBitmapMode;
  compress?: boolean;
  'on-source-error'?: BlockCommitArgumentsOnError;
  'on-target-error'?: BlockCommitArgumentsOnError;
  'auto-finalize'?: boolean;
  'auto-dismiss'?: boolean;
  'filter-node-name'?: string;
  /** QEMU says: unstable. */
  'x-perf'?: BlockdevBackupArgumentsXPerf;
  target: string;
}

export interface TransactionArguments {
  actions: TransactionAction[];
  properties?: TransactionArgumentsProperties;
}

export interface SnapshotSaveArguments {
  'job-id': string;
  tag: string;
  vmstate: string;
  devices: string[];
}

export interface SnapshotLoadArguments {
  'job-id': string;
  tag: string;
  vmstate: string;
  devices: string[];
}

export interface SnapshotDeleteArguments {
  'job-id': string;
  tag: string;
  devices: string[];
}

export interface MigrateArguments {
  uri: string;
  blk?: boolean;
  inc?: boolean;
  detach?: boolean;
  resume?: boolean;
}

export interface MigrationInfo {
  status?: MigrationStatus;
  ram?: MigrationInfoRam;
  disk?: MigrationInfoRam;
  vfio?: MigrationInfoVfio;
  'xbzrle-cache'?: MigrationInfoXbzrleCache;
  'total-time'?: Integer;
  'expected-downtime'?: Integer;
  downtime?: Integer;
  'setup-time'?: Integer;
  'cpu-throttle-percentage'?: Integer;
  'error-desc'?: string;
  'blocked-reasons'?: string[];
  'postcopy-blocktime'?: Integer;
  'postcopy-vcpu-blocktime'?: Integer[];
  compression?: MigrationInfoCompression;
  'socket-address'?: MigrationInfoSocketAddressItem[];
}

export interface MigrateSetParametersArguments {
  'announce-initial'?: Integer;
  'announce-max'?: Integer;
  'announce-rounds'?: Integer;
  'announce-step'?: Integer;
  'compress-level'?: Integer;
  'compress-threads'?: Integer;
  'compress-wait-thread'?: boolean;
  'decompress-threads'?: Integer;
  'throttle-trigger-threshold'?: Integer;
  'cpu-throttle-initial'?: Integer;
  'cpu-throttle-increment'?: Integer;
  'cpu-throttle-tailslow'?: boolean;
  'tls-creds'?: MigrateSetParametersArgumentsTlsCreds;
  'tls-hostname'?: MigrateSetParametersArgumentsTlsCreds;
  'tls-authz'?: MigrateSetParametersArgumentsTlsCreds;
  'max-bandwidth'?: Integer;
  'downtime-limit'?: Integer;
  /** QEMU says: unstable. */
  'x-checkpoint-delay'?: Integer;
  'block-incremental'?: boolean;
  'multifd-channels'?: Integer;
  'xbzrle-cache-size'?: Integer;
  'max-postcopy-bandwidth'?: Integer;
  'max-cpu-throttle'?: Integer;
  'multifd-compression'?: MigrateSetParametersArgumentsMultifdCompression;
  'multifd-zlib-level'?: Integer;
  'multifd-zstd-level'?: Integer;
  'block-bitmap-mapping'?: MigrateSetParametersArgumentsBlockBitmapMappingItem[];
}

export interface MigrateSetCapabilitiesArguments {
  capabilities: MigrateSetCapabilitiesArgumentsCapabilitiesItem[];
}

export interface DeviceAddArguments extends Record<string, unknown> {
  driver: string;
  bus?: string;
  id?: string;
}

export interface DeviceDelArguments {
  id: string;
}

export interface DeviceListPropertiesArguments {
  typename: string;
}

export interface ObjectPropertyInfo {
  name: string;
  type: string;
  description?: string;
  'default-value'?: unknown;
}

export interface PciInfo {
  bus: Integer;
  devices: PciDeviceInfo[];
}

export type ObjectOptions = { id: string } & (
  | ({ 'qom-type': 'authz-list' } & ObjectOptionsAuthzList)
  | ({ 'qom-type': 'authz-listfile' } & ObjectOptionsAuthzListfile)
  | ({ 'qom-type': 'authz-pam' } & ObjectOptionsAuthzPam)
  | ({ 'qom-type': 'authz-simple' } & ObjectOptionsAuthzSimple)
  | ({ 'qom-type': 'can-host-socketcan' } & ObjectOptionsCanHostSocketcan)
  | ({ 'qom-type': 'colo-compare' } & ObjectOptionsColoCompare)
  | ({
      'qom-type': 'cryptodev-backend' | 'cryptodev-backend-builtin' | 'cryptodev-backend-lkcf';
    } & ObjectOptionsCryptodevBackend)
  | ({ 'qom-type': 'cryptodev-vhost-user' } & ObjectOptionsCryptodevVhostUser)
  | ({ 'qom-type': 'dbus-vmstate' } & ObjectOptionsDbusVmstate)
  | ({ 'qom-type': 'filter-buffer' } & ObjectOptionsFilterBuffer)
  | ({ 'qom-type': 'filter-dump' } & ObjectOptionsFilterDump)
  | ({ 'qom-type': 'filter-mirror' } & ObjectOptionsFilterMirror)
  | ({ 'qom-type': 'filter-redirector' } & ObjectOptionsFilterRedirector)
  | ({ 'qom-type': 'filter-replay' } & ObjectOptionsFilterReplay)
  | ({ 'qom-type': 'filter-rewriter' } & ObjectOptionsFilterRewriter)
  | ({ 'qom-type': 'input-barrier' } & ObjectOptionsInputBarrier)
  | ({ 'qom-type': 'input-linux' } & ObjectOptionsInputLinux)
  | ({ 'qom-type': 'iothread' } & ObjectOptionsIothread)
  | ({ 'qom-type': 'main-loop' } & ObjectOptionsMainLoop)
  | ({ 'qom-type': 'memory-backend-epc' } & ObjectOptionsMemoryBackendEpc)
  | ({ 'qom-type': 'memory-backend-file' } & ObjectOptionsMemoryBackendFile)
  | ({ 'qom-type': 'memory-backend-memfd' } & ObjectOptionsMemoryBackendMemfd)
  | ({ 'qom-type': 'memory-backend-ram' } & ObjectOptionsMemoryBackendRam)
  | ({ 'qom-type': 'pr-manager-helper' } & ObjectOptionsPrManagerHelper)
  | ({ 'qom-type': 'qtest' } & ObjectOptionsQtest)
  | ({ 'qom-type': 'rng-builtin' } & ObjectOptionsRngBuiltin)
  | ({ 'qom-type': 'rng-egd' } & ObjectOptionsRngEgd)
  | ({ 'qom-type': 'rng-random' } & ObjectOptionsRngRandom)
  | ({ 'qom-type': 'secret' } & ObjectOptionsSecret)
  | ({ 'qom-type': 'secret_keyring' } & ObjectOptionsSecretKeyring)
  | ({ 'qom-type': 'sev-guest' } & ObjectOptionsSevGuest)
  | ({ 'qom-type': 'thread-context' } & ObjectOptionsThreadContext)
  | ({ 'qom-type': 'throttle-group' } & ObjectOptionsThrottleGroup)
  | ({ 'qom-type': 'tls-creds-anon' } & ObjectOptionsTlsCredsAnon)
  | ({ 'qom-type': 'tls-creds-psk' } & ObjectOptionsTlsCredsPsk)
  | ({ 'qom-type': 'tls-creds-x509' } & ObjectOptionsTlsCredsX509)
  | ({ 'qom-type': 'tls-cipher-suites' } & ObjectOptionsTlsCipherSuites)
  | ({ 'qom-type': 'x-remote-object' } & ObjectOptionsXRemoteObject)
  | ({ 'qom-type': 'x-vfio-user-server' } & ObjectOptionsXVfioUserServer)
  | { 'qom-type': 'can-bus' | 'pef-guest' | 's390-pv-guest' }
);

export interface ObjectDelArguments {
  id: string;
}

export interface QomGetArguments {
  path: string;
  property: string;
}

export interface QomSetArguments {
  path: string;
  property: string;
  value: unknown;
}

export interface QomListArguments {
  path: string;
}

export type NetdevOptions = { id: string } & (
  | ({ type: 'nic' } & NetdevOptionsNic)
  | ({ type: 'user' } & NetdevOptionsUser)
  | ({ type: 'tap' } & NetdevOptionsTap)
  | ({ type: 'l2tpv3' } & NetdevOptionsL2tpv3)
  | ({ type: 'socket' } & NetdevOptionsSocket)
  | ({ type: 'stream' } & NetdevOptionsStream)
  | ({ type: 'dgram' } & NetdevOptionsDgram)
  | ({ type: 'vde' } & NetdevOptionsVde)
  | ({ type: 'bridge' } & NetdevOptionsBridge)
  | ({ type: 'hubport' } & NetdevOptionsHubport)
  | ({ type: 'netmap' } & NetdevOptionsNetmap)
  | ({ type: 'vhost-user' } & NetdevOptionsVhostUser)
  | ({ type: 'vhost-vdpa' } & NetdevOptionsVhostVdpa)
  | { type: 'none' }
);

export interface NetdevDelArguments {
  id: string;
}

export interface SetLinkArguments {
  name: string;
  up: boolean;
}

export interface ChardevInfo {
  label: string;
  filename: string;
  'frontend-open': boolean;
}

export interface ChardevChangeArguments {
  id: string;
  backend: ChardevBackend;
}

export interface ChardevChangeReturn {
  pty?: string;
}

export interface ScreendumpArguments {
  filename: string;
  device?: string;
  head?: Integer;
  format?: ScreendumpArgumentsFormat;
}

export interface SendKeyArguments {
  keys: KeyValue[];
  'hold-time'?: Integer;
}

export interface VncInfo {
  enabled: boolean;
  host?: string;
  family?: VncInfoFamily;
  service?: string;
  auth?: string;
  clients?: VncInfoClientsItem[];
}

export interface ChangeVncPasswordArguments {
  password: string;
}

export interface AddClientArguments {
  protocol: string;
  fdname: string;
  skipauth?: boolean;
  tls?: boolean;
}

export type QueryStatsArguments = { providers?: QueryStatsArgumentsProvidersItem[] } & (
  ({ target: 'vcpu' } & QueryStatsArgumentsVcpu) | { target: 'vm' }
);

export interface StatsResult {
  provider: StatsResultProvider;
  'qom-path'?: string;
  stats: StatsResultStatsItem[];
}

export interface HumanMonitorCommandArguments {
  'command-line': string;
  'cpu-index'?: Integer;
}

export interface ShutdownEvent {
  guest: boolean;
  reason: ShutdownCause;
}

export interface ResetEvent {
  guest: boolean;
  reason: ShutdownCause;
}

export interface GuestPanickedEvent {
  action: GuestPanickedEventAction;
  info?: GuestPanickedEventInfo;
}

export interface GuestCrashloadedEvent {
  action: GuestPanickedEventAction;
  info?: GuestPanickedEventInfo;
}

export interface WatchdogEvent {
  action: WatchdogEventAction;
}

export interface DeviceDeletedEvent {
  device?: string;
  path: string;
}

export interface DeviceUnplugGuestErrorEvent {
  device?: string;
  path: string;
}

export interface MemoryDeviceSizeChangeEvent {
  id?: string;
  size: Integer;
  'qom-path': string;
}

export interface BalloonChangeEvent {
  actual: Integer;
}

export interface JobStatusChangeEvent {
  id: string;
  status: JobStatus;
}

export interface BlockJobCompletedEvent {
  type: JobType;
  device: string;
  len: Integer;
  offset: Integer;
  speed: Integer;
  error?: string;
}

export interface BlockJobErrorEvent {
  device: string;
  operation: BlockJobErrorEventOperation;
  action: BlockJobErrorEventAction;
}

export interface BlockJobReadyEvent {
  type: JobType;
  device: string;
  len: Integer;
  offset: Integer;
  speed: Integer;
}

export interface BlockIoErrorEvent {
  device: string;
  'node-name'?: string;
  operation: BlockJobErrorEventOperation;
  action: BlockJobErrorEventAction;
  nospace?: boolean;
  reason: string;
}

export interface MigrationEvent {
  status: MigrationStatus;
}

export interface VncConnectedEvent {
  server: VncConnectedEventServer;
  client: VncConnectedEventClient;
}

export interface VncDisconnectedEvent {
  server: VncConnectedEventServer;
  client: VncInfoClientsItem;
}

export interface VserportChangeEvent {
  id: string;
  open: boolean;
}

export interface RtcChangeEvent {
  offset: Integer;
  'qom-path': string;
}

export interface NicRxFilterChangedEvent {
  name?: string;
  path: string;
}

export type QmpCapabilitiesArgumentsEnableItem = 'oob';

export interface QueryVersionReturnQemu {
  major: Integer;
  minor: Integer;
  micro: Integer;
}

export type RunState =
  | 'debug'
  | 'inmigrate'
  | 'internal-error'
  | 'io-error'
  | 'paused'
  | 'postmigrate'
  | 'prelaunch'
  | 'finish-migrate'
  | 'restore-vm'
  | 'running'
  | 'save-vm'
  | 'shutdown'
  | 'suspended'
  | 'watchdog'
  | 'guest-panicked'
  | 'colo';

export interface CpuInstanceProperties {
  'node-id'?: Integer;
  'socket-id'?: Integer;
  'die-id'?: Integer;
  'cluster-id'?: Integer;
  'core-id'?: Integer;
  'thread-id'?: Integer;
}

export interface CpuInfoS390x {
  'cpu-state': CpuInfoS390xCpuState;
}

export interface MemoryDeviceInfoDimm {
  data: MemoryDeviceInfoDimmData;
}

export interface MemoryDeviceInfoVirtioPmem {
  data: MemoryDeviceInfoVirtioPmemData;
}

export interface MemoryDeviceInfoVirtioMem {
  data: MemoryDeviceInfoVirtioMemData;
}

export interface MemoryDeviceInfoSgxEpc {
  data: MemoryDeviceInfoSgxEpcData;
}

export type BlockInfoIoStatus = 'ok' | 'failed' | 'nospace';

export interface BlockStatsStats {
  rd_bytes: Integer;
  wr_bytes: Integer;
  unmap_bytes: Integer;
  rd_operations: Integer;
  wr_operations: Integer;
  flush_operations: Integer;
  unmap_operations: Integer;
  rd_total_time_ns: Integer;
  wr_total_time_ns: Integer;
  flush_total_time_ns: Integer;
  unmap_total_time_ns: Integer;
  wr_highest_offset: Integer;
  rd_merged: Integer;
  wr_merged: Integer;
  unmap_merged: Integer;
  idle_time_ns?: Integer;
  failed_rd_operations: Integer;
  failed_wr_operations: Integer;
  failed_flush_operations: Integer;
  failed_unmap_operations: Integer;
  invalid_rd_operations: Integer;
  invalid_wr_operations: Integer;
  invalid_flush_operations: Integer;
  invalid_unmap_operations: Integer;
  account_invalid: boolean;
  account_failed: boolean;
  timed_stats: BlockStatsStatsTimedStatsItem[];
  rd_latency_histogram?: BlockStatsStatsRdLatencyHistogram;
  wr_latency_histogram?: BlockStatsStatsRdLatencyHistogram;
  flush_latency_histogram?: BlockStatsStatsRdLatencyHistogram;
}

export type BlockStatsDriverSpecific =
  | ({ driver: 'file' | 'host_device' } & BlockStatsDriverSpecificFile)
  | ({ driver: 'nvme' } & BlockStatsDriverSpecificNvme)
  | {
      driver:
        | 'blkdebug'
        | 'blklogwrites'
        | 'blkreplay'
        | 'blkverify'
        | 'bochs'
        | 'cloop'
        | 'compress'
        | 'copy-before-write'
        | 'copy-on-read'
        | 'dmg'
        | 'snapshot-access'
        | 'ftp'
        | 'ftps'
        | 'gluster'
        | 'host_cdrom'
        | 'http'
        | 'https'
        | 'iscsi'
        | 'luks'
        | 'nbd'
        | 'nfs'
        | 'null-aio'
        | 'null-co'
        | 'parallels'
        | 'preallocate'
        | 'qcow'
        | 'qcow2'
        | 'qed'
        | 'quorum'
        | 'raw'
        | 'rbd'
        | 'replication'
        | 'ssh'
        | 'throttle'
        | 'vdi'
        | 'vhdx'
        | 'vmdk'
        | 'vpc'
        | 'vvfat';
    };

export type BlockDeviceInfoDetectZeroes = 'off' | 'on' | 'unmap';

export interface ImageInfo {
  filename: string;
  format: string;
  'dirty-flag'?: boolean;
  'actual-size'?: Integer;
  'virtual-size': Integer;
  'cluster-size'?: Integer;
  encrypted?: boolean;
  compressed?: boolean;
  'backing-filename'?: string;
  'full-backing-filename'?: string;
  'backing-filename-format'?: string;
  snapshots?: ImageInfoSnapshotsItem[];
  'backing-image'?: ImageInfo;
  'format-specific'?: ImageInfoFormatSpecific;
}

export interface BlockDeviceInfoCache {
  writeback: boolean;
  direct: boolean;
  'no-flush': boolean;
}

export interface BlockDeviceInfoDirtyBitmapsItem {
  name?: string;
  count: Integer;
  granularity: Integer;
  recording: boolean;
  busy: boolean;
  persistent: boolean;
  inconsistent?: boolean;
}

export type JobStatus =
  | 'undefined'
  | 'created'
  | 'running'
  | 'paused'
  | 'ready'
  | 'standby'
  | 'waiting'
  | 'pending'
  | 'aborting'
  | 'concluded'
  | 'null';

export type JobType =
  | 'commit'
  | 'stream'
  | 'mirror'
  | 'backup'
  | 'create'
  | 'amend'
  | 'snapshot-load'
  | 'snapshot-save'
  | 'snapshot-delete';

export type BlockdevOptionsDiscard = 'ignore' | 'unmap';

export interface BlockdevOptionsCache {
  direct?: boolean;
  'no-flush'?: boolean;
}

export interface BlockdevOptionsBlkdebug {
  image: BlockdevRef;
  config?: string;
  align?: Integer;
  'max-transfer'?: Integer;
  'opt-write-zero'?: Integer;
  'max-write-zero'?: Integer;
  'opt-discard'?: Integer;
  'max-discard'?: Integer;
  'inject-error'?: BlockdevOptionsBlkdebugInjectErrorItem[];
  'set-state'?: BlockdevOptionsBlkdebugSetStateItem[];
  'take-child-perms'?: BlockdevOptionsBlkdebugTakeChildPermsItem[];
  'unshare-child-perms'?: BlockdevOptionsBlkdebugTakeChildPermsItem[];
}

export interface BlockdevOptionsBlklogwrites {
  file: BlockdevRef;
  log: BlockdevRef;
  'log-sector-size'?: Integer;
  'log-append'?: boolean;
  'log-super-update-interval'?: Integer;
}

export interface BlockdevOptionsBlkverify {
  test: BlockdevRef;
  raw: BlockdevRef;
}

export interface BlockdevOptionsBlkreplay {
  image: BlockdevRef;
}

export interface BlockdevOptionsBochs {
  file: BlockdevRef;
}

export interface BlockdevOptionsCopyBeforeWrite {
  file: BlockdevRef;
  target: BlockdevRef;
  bitmap?: BlockdevOptionsCopyBeforeWriteBitmap;
  'on-cbw-error'?: BlockdevOptionsCopyBeforeWriteOnCbwError;
  'cbw-timeout'?: Integer;
}

export interface BlockdevOptionsCopyOnRead {
  file: BlockdevRef;
  bottom?: string;
}

export interface BlockdevOptionsFile {
  filename: string;
  'pr-manager'?: string;
  locking?: BlockdevOptionsFileLocking;
  aio?: BlockdevOptionsFileAio;
  'aio-max-batch'?: Integer;
  'drop-cache'?: boolean;
  /** QEMU says: unstable. */
  'x-check-cache-dropped'?: boolean;
}

export interface BlockdevOptionsFtp {
  url: string;
  readahead?: Integer;
  timeout?: Integer;
  username?: string;
  'password-secret'?: string;
  'proxy-username'?: string;
  'proxy-password-secret'?: string;
}

export interface BlockdevOptionsFtps {
  url: string;
  readahead?: Integer;
  timeout?: Integer;
  username?: string;
  'password-secret'?: string;
  'proxy-username'?: string;
  'proxy-password-secret'?: string;
  sslverify?: boolean;
}

export interface BlockdevOptionsGluster {
  volume: string;
  path: string;
  server: MigrationInfoSocketAddressItem[];
  debug?: Integer;
  logfile?: string;
}

export interface BlockdevOptionsHttp {
  url: string;
  readahead?: Integer;
  timeout?: Integer;
  username?: string;
  'password-secret'?: string;
  'proxy-username'?: string;
  'proxy-password-secret'?: string;
  cookie?: string;
  'cookie-secret'?: string;
}

export interface BlockdevOptionsHttps {
  url: string;
  readahead?: Integer;
  timeout?: Integer;
  username?: string;
  'password-secret'?: string;
  'proxy-username'?: string;
  'proxy-password-secret'?: string;
  cookie?: string;
  sslverify?: boolean;
  'cookie-secret'?: string;
}

export interface BlockdevOptionsIscsi {
  transport: BlockdevOptionsIscsiTransport;
  portal: string;
  target: string;
  lun?: Integer;
  user?: string;
  'password-secret'?: string;
  'initiator-name'?: string;
  'header-digest'?: BlockdevOptionsIscsiHeaderDigest;
  timeout?: Integer;
}

export interface BlockdevOptionsLuks {
  file: BlockdevRef;
  'key-secret'?: string;
}

export interface BlockdevOptionsNbd {
  server: MigrationInfoSocketAddressItem;
  export?: string;
  'tls-creds'?: string;
  'tls-hostname'?: string;
  /** QEMU says: unstable. */
  'x-dirty-bitmap'?: string;
  'reconnect-delay'?: Integer;
  'open-timeout'?: Integer;
}

export interface BlockdevOptionsNfs {
  server: BlockdevOptionsNfsServer;
  path: string;
  user?: Integer;
  group?: Integer;
  'tcp-syn-count'?: Integer;
  'readahead-size'?: Integer;
  'page-cache-size'?: Integer;
  debug?: Integer;
}

export interface BlockdevOptionsNullAio {
  size?: Integer;
  'latency-ns'?: Integer;
  'read-zeroes'?: boolean;
}

export interface BlockdevOptionsNvme {
  device: string;
  namespace: Integer;
}

export interface BlockdevOptionsPreallocate {
  file: BlockdevRef;
  'prealloc-align'?: Integer;
  'prealloc-size'?: Integer;
}

export interface BlockdevOptionsQcow2 {
  file: BlockdevRef;
  backing?: BlockdevRefOrNull;
  'lazy-refcounts'?: boolean;
  'pass-discard-request'?: boolean;
  'pass-discard-snapshot'?: boolean;
  'pass-discard-other'?: boolean;
  'overlap-check'?: BlockdevOptionsQcow2OverlapCheck;
  'cache-size'?: Integer;
  'l2-cache-size'?: Integer;
  'l2-cache-entry-size'?: Integer;
  'refcount-cache-size'?: Integer;
  'cache-clean-interval'?: Integer;
  encrypt?: BlockdevOptionsQcow2Encrypt;
  'data-file'?: BlockdevRef;
}

export interface BlockdevOptionsQcow {
  file: BlockdevRef;
  backing?: BlockdevRefOrNull;
  encrypt?: BlockdevOptionsQcowEncrypt;
}

export interface BlockdevOptionsQed {
  file: BlockdevRef;
  backing?: BlockdevRefOrNull;
}

export interface BlockdevOptionsQuorum {
  blkverify?: boolean;
  children: BlockdevRef[];
  'vote-threshold': Integer;
  'rewrite-corrupted'?: boolean;
  'read-pattern'?: BlockdevOptionsQuorumReadPattern;
}

export interface BlockdevOptionsRaw {
  file: BlockdevRef;
  offset?: Integer;
  size?: Integer;
}

export interface BlockdevOptionsRbd {
  pool: string;
  namespace?: string;
  image: string;
  conf?: string;
  snapshot?: string;
  encrypt?: BlockdevOptionsRbdEncrypt;
  user?: string;
  'auth-client-required'?: BlockdevOptionsRbdAuthClientRequiredItem[];
  'key-secret'?: string;
  server?: BlockdevOptionsRbdServerItem[];
}

export interface BlockdevOptionsReplication {
  file: BlockdevRef;
  mode: BlockdevOptionsReplicationMode;
  'top-id'?: string;
}

export interface BlockdevOptionsSsh {
  server: BlockdevOptionsSshServer;
  path: string;
  user?: string;
  'host-key-check'?: BlockdevOptionsSshHostKeyCheck;
}

export interface BlockdevOptionsThrottle {
  'throttle-group': string;
  file: BlockdevRef;
}

export interface BlockdevOptionsVvfat {
  dir: string;
  'fat-type'?: Integer;
  floppy?: boolean;
  label?: string;
  rw?: boolean;
}

export type BlockdevCreateOptions =
  | ({ driver: 'file' } & BlockdevCreateOptionsFile)
  | ({ driver: 'gluster' } & BlockdevCreateOptionsGluster)
  | ({ driver: 'luks' } & BlockdevCreateOptionsLuks)
  | ({ driver: 'nfs' } & BlockdevCreateOptionsNfs)
  | ({ driver: 'parallels' } & BlockdevCreateOptionsParallels)
  | ({ driver: 'qcow' } & BlockdevCreateOptionsQcow)
  | ({ driver: 'qcow2' } & BlockdevCreateOptionsQcow2)
  | ({ driver: 'qed' } & BlockdevCreateOptionsQed)
  | ({ driver: 'rbd' } & BlockdevCreateOptionsRbd)
  | ({ driver: 'ssh' } & BlockdevCreateOptionsSsh)
  | ({ driver: 'vdi' } & BlockdevCreateOptionsVdi)
  | ({ driver: 'vhdx' } & BlockdevCreateOptionsVhdx)
  | ({ driver: 'vmdk' } & BlockdevCreateOptionsVmdk)
  | ({ driver: 'vpc' } & BlockdevCreateOptionsVpc)
  | {
      driver:
        | 'blkdebug'
        | 'blklogwrites'
        | 'blkreplay'
        | 'blkverify'
        | 'bochs'
        | 'cloop'
        | 'compress'
        | 'copy-before-write'
        | 'copy-on-read'
        | 'dmg'
        | 'snapshot-access'
        | 'ftp'
        | 'ftps'
        | 'host_cdrom'
        | 'host_device'
        | 'http'
        | 'https'
        | 'iscsi'
        | 'nbd'
        | 'null-aio'
        | 'null-co'
        | 'nvme'
        | 'preallocate'
        | 'quorum'
        | 'raw'
        | 'replication'
        | 'throttle'
        | 'vvfat';
    };

export type BlockdevSnapshotSyncArgumentsMode = 'existing' | 'absolute-paths';

export type BlockCommitArgumentsOnError = 'report' | 'ignore' | 'enospc' | 'stop' | 'auto';

export type BlockdevBackupArgumentsSync = 'top' | 'full' | 'none' | 'incremental' | 'bitmap';

export type BlockdevBackupArgumentsBitmapMode = 'on-success' | 'never' | 'always';

export interface BlockdevBackupArgumentsXPerf {
  'use-copy-range'?: boolean;
  'max-workers'?: Integer;
  'max-chunk'?: Integer;
}

export type TransactionAction =
  | ({ type: 'abort' } & TransactionActionAbort)
  | ({ type: 'block-dirty-bitmap-add' } & TransactionActionBlockDirtyBitmapAdd)
  | ({
      type:
        | 'block-dirty-bitmap-remove'
        | 'block-dirty-bitmap-clear'
        | 'block-dirty-bitmap-enable'
        | 'block-dirty-bitmap-disable';
    } & TransactionActionBlockDirtyBitmapRemove)
  | ({ type: 'block-dirty-bitmap-merge' } & TransactionActionBlockDirtyBitmapMerge)
  | ({ type: 'blockdev-backup' } & TransactionActionBlockdevBackup)
  | ({ type: 'blockdev-snapshot' } & TransactionActionBlockdevSnapshot)
  | ({ type: 'blockdev-snapshot-internal-sync' } & TransactionActionBlockdevSnapshotInternalSync)
  | ({ type: 'blockdev-snapshot-sync' } & TransactionActionBlockdevSnapshotSync)
  | ({ type: 'drive-backup' } & TransactionActionDriveBackup);

export interface TransactionArgumentsProperties {
  'completion-mode'?: TransactionArgumentsPropertiesCompletionMode;
}

export type MigrationStatus =
  | 'none'
  | 'setup'
  | 'cancelling'
  | 'cancelled'
  | 'active'
  | 'postcopy-active'
  | 'postcopy-paused'
  | 'postcopy-recover'
  | 'completed'
  | 'failed'
  | 'colo'
  | 'pre-switchover'
  | 'device'
  | 'wait-unplug';

export interface MigrationInfoRam {
  transferred: Integer;
  remaining: Integer;
  total: Integer;
  duplicate: Integer;
  skipped: Integer;
  normal: Integer;
  'normal-bytes': Integer;
  'dirty-pages-rate': Integer;
  mbps: number;
  'dirty-sync-count': Integer;
  'postcopy-requests': Integer;
  'page-size': Integer;
  'multifd-bytes': Integer;
  'pages-per-second': Integer;
  'precopy-bytes': Integer;
  'downtime-bytes': Integer;
  'postcopy-bytes': Integer;
  'dirty-sync-missed-zero-copy': Integer;
}

export interface MigrationInfoVfio {
  transferred: Integer;
}

export interface MigrationInfoXbzrleCache {
  'cache-size': Integer;
  bytes: Integer;
  pages: Integer;
  'cache-miss': Integer;
  'cache-miss-rate': number;
  'encoding-rate': number;
  overflow: Integer;
}

export interface MigrationInfoCompression {
  pages: Integer;
  busy: Integer;
  'busy-rate': number;
  'compressed-size': Integer;
  'compression-rate': number;
}

export type MigrationInfoSocketAddressItem =
  | ({ type: 'inet' } & BlockdevOptionsSshServer)
  | ({ type: 'unix' } & MigrationInfoSocketAddressItemUnix)
  | ({ type: 'vsock' } & MigrationInfoSocketAddressItemVsock)
  | ({ type: 'fd' } & MigrationInfoSocketAddressItemFd);

export type MigrateSetParametersArgumentsTlsCreds = string | null;

export type MigrateSetParametersArgumentsMultifdCompression = 'none' | 'zlib' | 'zstd';

export interface MigrateSetParametersArgumentsBlockBitmapMappingItem {
  'node-name': string;
  alias: string;
  bitmaps: MigrateSetParametersArgumentsBlockBitmapMappingItemBitmapsItem[];
}

export interface MigrateSetCapabilitiesArgumentsCapabilitiesItem {
  capability: MigrateSetCapabilitiesArgumentsCapabilitiesItemCapability;
  state: boolean;
}

export interface PciDeviceInfo {
  bus: Integer;
  slot: Integer;
  function: Integer;
  class_info: PciDeviceInfoClassInfo;
  id: PciDeviceInfoId;
  irq?: Integer;
  irq_pin: Integer;
  qdev_id: string;
  pci_bridge?: PciDeviceInfoPciBridge;
  regions: PciDeviceInfoRegionsItem[];
}

export interface ObjectOptionsAuthzList {
  policy?: ObjectOptionsAuthzListPolicy;
  rules?: ObjectOptionsAuthzListRulesItem[];
}

export interface ObjectOptionsAuthzListfile {
  filename: string;
  refresh?: boolean;
}

export interface ObjectOptionsAuthzPam {
  service: string;
}

export interface ObjectOptionsAuthzSimple {
  identity: string;
}

export interface ObjectOptionsCanHostSocketcan {
  if: string;
  canbus: string;
}

export interface ObjectOptionsColoCompare {
  primary_in: string;
  secondary_in: string;
  outdev: string;
  iothread: string;
  notify_dev?: string;
  compare_timeout?: Integer;
  expired_scan_cycle?: Integer;
  max_queue_size?: Integer;
  vnet_hdr_support?: boolean;
}

export interface ObjectOptionsCryptodevBackend {
  queues?: Integer;
}

export interface ObjectOptionsCryptodevVhostUser {
  queues?: Integer;
  chardev: string;
}

export interface ObjectOptionsDbusVmstate {
  addr: string;
  'id-list'?: string;
}

export interface ObjectOptionsFilterBuffer {
  netdev: string;
  queue?: ObjectOptionsFilterBufferQueue;
  status?: string;
  position?: string;
  insert?: ObjectOptionsFilterBufferInsert;
  interval: Integer;
}

export interface ObjectOptionsFilterDump {
  netdev: string;
  queue?: ObjectOptionsFilterBufferQueue;
  status?: string;
  position?: string;
  insert?: ObjectOptionsFilterBufferInsert;
  file: string;
  maxlen?: Integer;
}

export interface ObjectOptionsFilterMirror {
  netdev: string;
  queue?: ObjectOptionsFilterBufferQueue;
  status?: string;
  position?: string;
  insert?: ObjectOptionsFilterBufferInsert;
  outdev: string;
  vnet_hdr_support?: boolean;
}

export interface ObjectOptionsFilterRedirector {
  netdev: string;
  queue?: ObjectOptionsFilterBufferQueue;
  status?: string;
  position?: string;
  insert?: ObjectOptionsFilterBufferInsert;
  indev?: string;
  outdev?: string;
  vnet_hdr_support?: boolean;
}

export interface ObjectOptionsFilterReplay {
  netdev: string;
  queue?: ObjectOptionsFilterBufferQueue;
  status?: string;
  position?: string;
  insert?: ObjectOptionsFilterBufferInsert;
}

export interface ObjectOptionsFilterRewriter {
  netdev: string;
  queue?: ObjectOptionsFilterBufferQueue;
  status?: string;
  position?: string;
  insert?: ObjectOptionsFilterBufferInsert;
  vnet_hdr_support?: boolean;
}

export interface ObjectOptionsInputBarrier {
  name: string;
  server?: string;
  port?: string;
  'x-origin'?: string;
  'y-origin'?: string;
  width?: string;
  height?: string;
}

export interface ObjectOptionsInputLinux {
  evdev: string;
  grab_all?: boolean;
  repeat?: boolean;
  'grab-toggle'?: ObjectOptionsInputLinuxGrabToggle;
}

export interface ObjectOptionsIothread {
  'aio-max-batch'?: Integer;
  'thread-pool-min'?: Integer;
  'thread-pool-max'?: Integer;
  'poll-max-ns'?: Integer;
  'poll-grow'?: Integer;
  'poll-shrink'?: Integer;
}

export interface ObjectOptionsMainLoop {
  'aio-max-batch'?: Integer;
  'thread-pool-min'?: Integer;
  'thread-pool-max'?: Integer;
}

export interface ObjectOptionsMemoryBackendEpc {
  dump?: boolean;
  'host-nodes'?: Integer[];
  merge?: boolean;
  policy?: ObjectOptionsMemoryBackendEpcPolicy;
  prealloc?: boolean;
  'prealloc-threads'?: Integer;
  'prealloc-context'?: string;
  share?: boolean;
  reserve?: boolean;
  size: Integer;
  'x-use-canonical-path-for-ramblock-id'?: boolean;
}

export interface ObjectOptionsMemoryBackendFile {
  dump?: boolean;
  'host-nodes'?: Integer[];
  merge?: boolean;
  policy?: ObjectOptionsMemoryBackendEpcPolicy;
  prealloc?: boolean;
  'prealloc-threads'?: Integer;
  'prealloc-context'?: string;
  share?: boolean;
  reserve?: boolean;
  size: Integer;
  'x-use-canonical-path-for-ramblock-id'?: boolean;
  align?: Integer;
  'discard-data'?: boolean;
  'mem-path': string;
  pmem?: boolean;
  readonly?: boolean;
}

export interface ObjectOptionsMemoryBackendMemfd {
  dump?: boolean;
  'host-nodes'?: Integer[];
  merge?: boolean;
  policy?: ObjectOptionsMemoryBackendEpcPolicy;
  prealloc?: boolean;
  'prealloc-threads'?: Integer;
  'prealloc-context'?: string;
  share?: boolean;
  reserve?: boolean;
  size: Integer;
  'x-use-canonical-path-for-ramblock-id'?: boolean;
  hugetlb?: boolean;
  hugetlbsize?: Integer;
  seal?: boolean;
}

export interface ObjectOptionsMemoryBackendRam {
  dump?: boolean;
  'host-nodes'?: Integer[];
  merge?: boolean;
  policy?: ObjectOptionsMemoryBackendEpcPolicy;
  prealloc?: boolean;
  'prealloc-threads'?: Integer;
  'prealloc-context'?: string;
  share?: boolean;
  reserve?: boolean;
  size: Integer;
  'x-use-canonical-path-for-ramblock-id'?: boolean;
}

export interface ObjectOptionsPrManagerHelper {
  path: string;
}

export interface ObjectOptionsQtest {
  chardev: string;
  log?: string;
}

export interface ObjectOptionsRngBuiltin {
  /** QEMU says: deprecated. */
  opened?: boolean;
}

export interface ObjectOptionsRngEgd {
  /** QEMU says: deprecated. */
  opened?: boolean;
  chardev: string;
}

export interface ObjectOptionsRngRandom {
  /** QEMU says: deprecated. */
  opened?: boolean;
  filename?: string;
}

export interface ObjectOptionsSecret {
  /** QEMU says: deprecated. */
  loaded?: boolean;
  format?: ObjectOptionsSecretFormat;
  keyid?: string;
  iv?: string;
  data?: string;
  file?: string;
}

export interface ObjectOptionsSecretKeyring {
  /** QEMU says: deprecated. */
  loaded?: boolean;
  format?: ObjectOptionsSecretFormat;
  keyid?: string;
  iv?: string;
  serial: Integer;
}

export interface ObjectOptionsSevGuest {
  'sev-device'?: string;
  'dh-cert-file'?: string;
  'session-file'?: string;
  policy?: Integer;
  handle?: Integer;
  cbitpos?: Integer;
  'reduced-phys-bits': Integer;
  'kernel-hashes'?: boolean;
}

export interface ObjectOptionsThreadContext {
  'cpu-affinity'?: Integer[];
  'node-affinity'?: Integer[];
}

export interface ObjectOptionsThrottleGroup {
  limits?: ObjectOptionsThrottleGroupLimits;
  /** QEMU says: unstable. */
  'x-iops-total'?: Integer;
  /** QEMU says: unstable. */
  'x-iops-total-max'?: Integer;
  /** QEMU says: unstable. */
  'x-iops-total-max-length'?: Integer;
  /** QEMU says: unstable. */
  'x-iops-read'?: Integer;
  /** QEMU says: unstable. */
  'x-iops-read-max'?: Integer;
  /** QEMU says: unstable. */
  'x-iops-read-max-length'?: Integer;
  /** QEMU says: unstable. */
  'x-iops-write'?: Integer;
  /** QEMU says: unstable. */
  'x-iops-write-max'?: Integer;
  /** QEMU says: unstable. */
  'x-iops-write-max-length'?: Integer;
  /** QEMU says: unstable. */
  'x-bps-total'?: Integer;
  /** QEMU says: unstable. */
  'x-bps-total-max'?: Integer;
  /** QEMU says: unstable. */
  'x-bps-total-max-length'?: Integer;
  /** QEMU says: unstable. */
  'x-bps-read'?: Integer;
  /** QEMU says: unstable. */
  'x-bps-read-max'?: Integer;
  /** QEMU says: unstable. */
  'x-bps-read-max-length'?: Integer;
  /** QEMU says: unstable. */
  'x-bps-write'?: Integer;
  /** QEMU says: unstable. */
  'x-bps-write-max'?: Integer;
  /** QEMU says: unstable. */
  'x-bps-write-max-length'?: Integer;
  /** QEMU says: unstable. */
  'x-iops-size'?: Integer;
}

export interface ObjectOptionsTlsCredsAnon {
  'verify-peer'?: boolean;
  dir?: string;
  endpoint?: ObjectOptionsTlsCredsAnonEndpoint;
  priority?: string;
  /** QEMU says: deprecated. */
  loaded?: boolean;
}

export interface ObjectOptionsTlsCredsPsk {
  'verify-peer'?: boolean;
  dir?: string;
  endpoint?: ObjectOptionsTlsCredsAnonEndpoint;
  priority?: string;
  /** QEMU says: deprecated. */
  loaded?: boolean;
  username?: string;
}

export interface ObjectOptionsTlsCredsX509 {
  'verify-peer'?: boolean;
  dir?: string;
  endpoint?: ObjectOptionsTlsCredsAnonEndpoint;
  priority?: string;
  /** QEMU says: deprecated. */
  loaded?: boolean;
  'sanity-check'?: boolean;
  passwordid?: string;
}

export interface ObjectOptionsTlsCipherSuites {
  'verify-peer'?: boolean;
  dir?: string;
  endpoint?: ObjectOptionsTlsCredsAnonEndpoint;
  priority?: string;
}

export interface ObjectOptionsXRemoteObject {
  fd: string;
  devid: string;
}

export interface ObjectOptionsXVfioUserServer {
  socket: MigrationInfoSocketAddressItem;
  device: string;
}

export interface NetdevOptionsNic {
  netdev?: string;
  macaddr?: string;
  model?: string;
  addr?: string;
  vectors?: Integer;
}

export interface NetdevOptionsUser {
  hostname?: string;
  restrict?: boolean;
  ipv4?: boolean;
  ipv6?: boolean;
  ip?: string;
  net?: string;
  host?: string;
  tftp?: string;
  bootfile?: string;
  dhcpstart?: string;
  dns?: string;
  dnssearch?: MigrationInfoSocketAddressItemFd[];
  domainname?: string;
  'ipv6-prefix'?: string;
  'ipv6-prefixlen'?: Integer;
  'ipv6-host'?: string;
  'ipv6-dns'?: string;
  smb?: string;
  smbserver?: string;
  hostfwd?: MigrationInfoSocketAddressItemFd[];
  guestfwd?: MigrationInfoSocketAddressItemFd[];
  'tftp-server-name'?: string;
}

export interface NetdevOptionsTap {
  ifname?: string;
  fd?: string;
  fds?: string;
  script?: string;
  downscript?: string;
  br?: string;
  helper?: string;
  sndbuf?: Integer;
  vnet_hdr?: boolean;
  vhost?: boolean;
  vhostfd?: string;
  vhostfds?: string;
  vhostforce?: boolean;
  queues?: Integer;
  'poll-us'?: Integer;
}

export interface NetdevOptionsL2tpv3 {
  src: string;
  dst: string;
  srcport?: string;
  dstport?: string;
  ipv6?: boolean;
  udp?: boolean;
  cookie64?: boolean;
  counter?: boolean;
  pincounter?: boolean;
  txcookie?: Integer;
  rxcookie?: Integer;
  txsession: Integer;
  rxsession?: Integer;
  offset?: Integer;
}

export interface NetdevOptionsSocket {
  fd?: string;
  listen?: string;
  connect?: string;
  mcast?: string;
  localaddr?: string;
  udp?: string;
}

export interface NetdevOptionsStream {
  addr: MigrationInfoSocketAddressItem;
  server?: boolean;
}

export interface NetdevOptionsDgram {
  local?: MigrationInfoSocketAddressItem;
  remote?: MigrationInfoSocketAddressItem;
}

export interface NetdevOptionsVde {
  sock?: string;
  port?: Integer;
  group?: string;
  mode?: Integer;
}

export interface NetdevOptionsBridge {
  br?: string;
  helper?: string;
}

export interface NetdevOptionsHubport {
  hubid: Integer;
  netdev?: string;
}

export interface NetdevOptionsNetmap {
  ifname: string;
  devname?: string;
}

export interface NetdevOptionsVhostUser {
  chardev: string;
  vhostforce?: boolean;
  queues?: Integer;
}

export interface NetdevOptionsVhostVdpa {
  vhostdev?: string;
  vhostfd?: string;
  queues?: Integer;
  /** QEMU says: unstable. */
  'x-svq'?: boolean;
}

export type ChardevBackend =
  | ({ type: 'file' } & ChardevBackendFile)
  | ({ type: 'serial' | 'parallel' | 'pipe' } & ChardevBackendSerial)
  | ({ type: 'socket' } & ChardevBackendSocket)
  | ({ type: 'udp' } & ChardevBackendUdp)
  | ({
      type: 'pty' | 'null' | 'msmouse' | 'wctablet' | 'braille' | 'testdev' | 'console';
    } & ChardevBackendPty)
  | ({ type: 'mux' } & ChardevBackendMux)
  | ({ type: 'stdio' } & ChardevBackendStdio)
  | ({ type: 'spicevmc' } & ChardevBackendSpicevmc)
  | ({ type: 'spiceport' } & ChardevBackendSpiceport)
  | ({ type: 'qemu-vdagent' } & ChardevBackendQemuVdagent)
  | ({ type: 'dbus' } & ChardevBackendDbus)
  | ({ type: 'vc' } & ChardevBackendVc)
  | ({ type: 'ringbuf' | 'memory' } & ChardevBackendRingbuf);

export type ScreendumpArgumentsFormat = 'ppm' | 'png';

export type KeyValue = ({ type: 'number' } & KeyValueNumber) | ({ type: 'qcode' } & KeyValueQcode);

export type VncInfoFamily = 'ipv4' | 'ipv6' | 'unix' | 'vsock' | 'unknown';

export interface VncInfoClientsItem {
  host: string;
  service: string;
  family: VncInfoFamily;
  websocket: boolean;
  x509_dname?: string;
  sasl_username?: string;
}

export interface QueryStatsArgumentsProvidersItem {
  provider: StatsResultProvider;
  names?: string[];
}

export interface QueryStatsArgumentsVcpu {
  vcpus?: string[];
}

export type StatsResultProvider = 'kvm';

export interface StatsResultStatsItem {
  name: string;
  value: StatsResultStatsItemValue;
}

export type ShutdownCause =
  | 'none'
  | 'host-error'
  | 'host-qmp-quit'
  | 'host-qmp-system-reset'
  | 'host-signal'
  | 'host-ui'
  | 'guest-shutdown'
  | 'guest-reset'
  | 'guest-panic'
  | 'subsystem-reset'
  | 'snapshot-load';

export type GuestPanickedEventAction = 'pause' | 'poweroff' | 'run';

export type GuestPanickedEventInfo =
  ({ type: 'hyper-v' } & GuestPanickedEventInfoHyperV) | ({ type: 's390' } & GuestPanickedEventInfoS390);

export type WatchdogEventAction =
  'reset' | 'shutdown' | 'poweroff' | 'pause' | 'debug' | 'none' | 'inject-nmi';

export type BlockJobErrorEventOperation = 'read' | 'write';

export type BlockJobErrorEventAction = 'ignore' | 'report' | 'stop';

export interface VncConnectedEventServer {
  host: string;
  service: string;
  family: VncInfoFamily;
  websocket: boolean;
  auth?: string;
}

export interface VncConnectedEventClient {
  host: string;
  service: string;
  family: VncInfoFamily;
  websocket: boolean;
}

export type CpuInfoS390xCpuState = 'uninitialized' | 'stopped' | 'check-stop' | 'operating' | 'load';

export interface MemoryDeviceInfoDimmData {
  id?: string;
  addr: Integer;
  size: Integer;
  slot: Integer;
  node: Integer;
  memdev: string;
  hotplugged: boolean;
  hotpluggable: boolean;
}

export interface MemoryDeviceInfoVirtioPmemData {
  id?: string;
  memaddr: Integer;
  size: Integer;
  memdev: string;
}

export interface MemoryDeviceInfoVirtioMemData {
  id?: string;
  memaddr: Integer;
  'requested-size': Integer;
  size: Integer;
  'max-size': Integer;
  'block-size': Integer;
  node: Integer;
  memdev: string;
}

export interface MemoryDeviceInfoSgxEpcData {
  id?: string;
  memaddr: Integer;
  size: Integer;
  node: Integer;
  memdev: string;
}

export interface BlockStatsStatsTimedStatsItem {
  interval_length: Integer;
  min_rd_latency_ns: Integer;
  max_rd_latency_ns: Integer;
  avg_rd_latency_ns: Integer;
  min_wr_latency_ns: Integer;
  max_wr_latency_ns: Integer;
  avg_wr_latency_ns: Integer;
  min_flush_latency_ns: Integer;
  max_flush_latency_ns: Integer;
  avg_flush_latency_ns: Integer;
  avg_rd_queue_depth: number;
  avg_wr_queue_depth: number;
}

export interface BlockStatsStatsRdLatencyHistogram {
  boundaries: Integer[];
  bins: Integer[];
}

export interface BlockStatsDriverSpecificFile {
  'discard-nb-ok': Integer;
  'discard-nb-failed': Integer;
  'discard-bytes-ok': Integer;
}

export interface BlockStatsDriverSpecificNvme {
  'completion-errors': Integer;
  'aligned-accesses': Integer;
  'unaligned-accesses': Integer;
}

export interface ImageInfoSnapshotsItem {
  id: string;
  name: string;
  'vm-state-size': Integer;
  'date-sec': Integer;
  'date-nsec': Integer;
  'vm-clock-sec': Integer;
  'vm-clock-nsec': Integer;
  icount?: Integer;
}

export type ImageInfoFormatSpecific =
  | ({ type: 'qcow2' } & ImageInfoFormatSpecificQcow2)
  | ({ type: 'vmdk' } & ImageInfoFormatSpecificVmdk)
  | ({ type: 'luks' } & ImageInfoFormatSpecificLuks)
  | ({ type: 'rbd' } & ImageInfoFormatSpecificRbd);

export type BlockdevRef = BlockdevOptions | string;

export interface BlockdevOptionsBlkdebugInjectErrorItem {
  event: BlockdevOptionsBlkdebugInjectErrorItemEvent;
  state?: Integer;
  iotype?: BlockdevOptionsBlkdebugInjectErrorItemIotype;
  errno?: Integer;
  sector?: Integer;
  once?: boolean;
  immediately?: boolean;
}

export interface BlockdevOptionsBlkdebugSetStateItem {
  event: BlockdevOptionsBlkdebugInjectErrorItemEvent;
  state?: Integer;
  new_state: Integer;
}

export type BlockdevOptionsBlkdebugTakeChildPermsItem =
  'consistent-read' | 'write' | 'write-unchanged' | 'resize';

export interface BlockdevOptionsCopyBeforeWriteBitmap {
  node: string;
  name: string;
}

export type BlockdevOptionsCopyBeforeWriteOnCbwError = 'break-guest-write' | 'break-snapshot';

export type BlockdevOptionsFileLocking = 'auto' | 'on' | 'off';

export type BlockdevOptionsFileAio = 'threads' | 'native' | 'io_uring';

export type BlockdevOptionsIscsiTransport = 'tcp' | 'iser';

export type BlockdevOptionsIscsiHeaderDigest = 'crc32c' | 'none' | 'crc32c-none' | 'none-crc32c';

export interface BlockdevOptionsNfsServer {
  type: BlockdevOptionsNfsServerType;
  host: string;
}

export type BlockdevRefOrNull = BlockdevOptions | string | null;

export type BlockdevOptionsQcow2OverlapCheck =
  BlockdevOptionsQcow2OverlapCheckObject | BlockdevOptionsQcow2OverlapCheckWord;

export type BlockdevOptionsQcow2Encrypt =
  | ({ format: 'aes' } & BlockdevOptionsQcow2EncryptAes)
  | ({ format: 'luks' } & BlockdevOptionsQcow2EncryptLuks);

export type BlockdevOptionsQcowEncrypt = { format: 'aes' } & BlockdevOptionsQcow2EncryptAes;

export type BlockdevOptionsQuorumReadPattern = 'quorum' | 'fifo';

export type BlockdevOptionsRbdEncrypt =
  | ({ format: 'luks' } & BlockdevOptionsRbdEncryptLuks)
  | ({ format: 'luks2' } & BlockdevOptionsRbdEncryptLuks2);

export type BlockdevOptionsRbdAuthClientRequiredItem = 'cephx' | 'none';

export interface BlockdevOptionsRbdServerItem {
  host: string;
  port: string;
}

export type BlockdevOptionsReplicationMode = 'primary' | 'secondary';

export interface BlockdevOptionsSshServer {
  host: string;
  port: string;
  numeric?: boolean;
  to?: Integer;
  ipv4?: boolean;
  ipv6?: boolean;
  'keep-alive'?: boolean;
  mptcp?: boolean;
}

export type BlockdevOptionsSshHostKeyCheck =
  ({ mode: 'hash' } & BlockdevOptionsSshHostKeyCheckHash) | { mode: 'none' | 'known_hosts' };

export interface BlockdevCreateOptionsFile {
  filename: string;
  size: Integer;
  preallocation?: BlockdevCreateOptionsFilePreallocation;
  nocow?: boolean;
  'extent-size-hint'?: Integer;
}

export interface BlockdevCreateOptionsGluster {
  location: BlockdevOptionsGluster;
  size: Integer;
  preallocation?: BlockdevCreateOptionsFilePreallocation;
}

export interface BlockdevCreateOptionsLuks {
  'key-secret'?: string;
  'cipher-alg'?: BlockdevCreateOptionsLuksCipherAlg;
  'cipher-mode'?: BlockdevCreateOptionsLuksCipherMode;
  'ivgen-alg'?: BlockdevCreateOptionsLuksIvgenAlg;
  'ivgen-hash-alg'?: BlockdevCreateOptionsLuksIvgenHashAlg;
  'hash-alg'?: BlockdevCreateOptionsLuksIvgenHashAlg;
  'iter-time'?: Integer;
  file: BlockdevRef;
  size: Integer;
  preallocation?: BlockdevCreateOptionsFilePreallocation;
}

export interface BlockdevCreateOptionsNfs {
  location: BlockdevOptionsNfs;
  size: Integer;
}

export interface BlockdevCreateOptionsParallels {
  file: BlockdevRef;
  size: Integer;
  'cluster-size'?: Integer;
}

export interface BlockdevCreateOptionsQcow {
  file: BlockdevRef;
  size: Integer;
  'backing-file'?: string;
  encrypt?: BlockdevCreateOptionsQcowEncrypt;
}

export interface BlockdevCreateOptionsQcow2 {
  file: BlockdevRef;
  'data-file'?: BlockdevRef;
  'data-file-raw'?: boolean;
  'extended-l2'?: boolean;
  size: Integer;
  version?: BlockdevCreateOptionsQcow2Version;
  'backing-file'?: string;
  'backing-fmt'?: BlockdevCreateOptionsQcow2BackingFmt;
  encrypt?: BlockdevCreateOptionsQcowEncrypt;
  'cluster-size'?: Integer;
  preallocation?: BlockdevCreateOptionsFilePreallocation;
  'lazy-refcounts'?: boolean;
  'refcount-bits'?: Integer;
  'compression-type'?: BlockdevCreateOptionsQcow2CompressionType;
}

export interface BlockdevCreateOptionsQed {
  file: BlockdevRef;
  size: Integer;
  'backing-file'?: string;
  'backing-fmt'?: BlockdevCreateOptionsQcow2BackingFmt;
  'cluster-size'?: Integer;
  'table-size'?: Integer;
}

export interface BlockdevCreateOptionsRbd {
  location: BlockdevOptionsRbd;
  size: Integer;
  'cluster-size'?: Integer;
  encrypt?: BlockdevCreateOptionsRbdEncrypt;
}

export interface BlockdevCreateOptionsSsh {
  location: BlockdevOptionsSsh;
  size: Integer;
}

export interface BlockdevCreateOptionsVdi {
  file: BlockdevRef;
  size: Integer;
  preallocation?: BlockdevCreateOptionsFilePreallocation;
}

export interface BlockdevCreateOptionsVhdx {
  file: BlockdevRef;
  size: Integer;
  'log-size'?: Integer;
  'block-size'?: Integer;
  subformat?: BlockdevCreateOptionsVhdxSubformat;
  'block-state-zero'?: boolean;
}

export interface BlockdevCreateOptionsVmdk {
  file: BlockdevRef;
  size: Integer;
  extents?: BlockdevRef[];
  subformat?: BlockdevCreateOptionsVmdkSubformat;
  'backing-file'?: string;
  'adapter-type'?: BlockdevCreateOptionsVmdkAdapterType;
  hwversion?: string;
  toolsversion?: string;
  'zeroed-grain'?: boolean;
}

export interface BlockdevCreateOptionsVpc {
  file: BlockdevRef;
  size: Integer;
  subformat?: BlockdevCreateOptionsVpcSubformat;
  'force-size'?: boolean;
}

export interface TransactionActionAbort {
  data: NoMembers;
}

export interface TransactionActionBlockDirtyBitmapAdd {
  data: TransactionActionBlockDirtyBitmapAddData;
}

export interface TransactionActionBlockDirtyBitmapRemove {
  data: BlockdevOptionsCopyBeforeWriteBitmap;
}

export interface TransactionActionBlockDirtyBitmapMerge {
  data: TransactionActionBlockDirtyBitmapMergeData;
}

export interface TransactionActionBlockdevBackup {
  data: BlockdevBackupArguments;
}

export interface TransactionActionBlockdevSnapshot {
  data: BlockdevSnapshotArguments;
}

export interface TransactionActionBlockdevSnapshotInternalSync {
  data: TransactionActionBlockdevSnapshotInternalSyncData;
}

export interface TransactionActionBlockdevSnapshotSync {
  data: BlockdevSnapshotSyncArguments;
}

export interface TransactionActionDriveBackup {
  data: TransactionActionDriveBackupData;
}

export type TransactionArgumentsPropertiesCompletionMode = 'individual' | 'grouped';

export interface MigrationInfoSocketAddressItemUnix {
  path: string;
  abstract?: boolean;
  tight?: boolean;
}

export interface MigrationInfoSocketAddressItemVsock {
  cid: string;
  port: string;
}

export interface MigrationInfoSocketAddressItemFd {
  str: string;
}

export interface MigrateSetParametersArgumentsBlockBitmapMappingItemBitmapsItem {
  name: string;
  alias: string;
  transform?: MigrateSetParametersArgumentsBlockBitmapMappingItemBitmapsItemTransform;
}

export type MigrateSetCapabilitiesArgumentsCapabilitiesItemCapability =
  | 'xbzrle'
  | 'rdma-pin-all'
  | 'auto-converge'
  | 'zero-blocks'
  | 'compress'
  | 'events'
  | 'postcopy-ram'
  | 'x-colo'
  | 'release-ram'
  | 'block'
  | 'return-path'
  | 'pause-before-switchover'
  | 'multifd'
  | 'dirty-bitmaps'
  | 'postcopy-blocktime'
  | 'late-block-activate'
  | 'x-ignore-shared'
  | 'validate-uuid'
  | 'background-snapshot'
  | 'zero-copy-send'
  | 'postcopy-preempt';

export interface PciDeviceInfoClassInfo {
  desc?: string;
  class: Integer;
}

export interface PciDeviceInfoId {
  device: Integer;
  vendor: Integer;
  subsystem?: Integer;
  'subsystem-vendor'?: Integer;
}

export interface PciDeviceInfoPciBridge {
  bus: PciDeviceInfoPciBridgeBus;
  devices?: PciDeviceInfo[];
}

export interface PciDeviceInfoRegionsItem {
  bar: Integer;
  type: string;
  address: Integer;
  size: Integer;
  prefetch?: boolean;
  mem_type_64?: boolean;
}

export type ObjectOptionsAuthzListPolicy = 'deny' | 'allow';

export interface ObjectOptionsAuthzListRulesItem {
  match: string;
  policy: ObjectOptionsAuthzListPolicy;
  format?: ObjectOptionsAuthzListRulesItemFormat;
}

export type ObjectOptionsFilterBufferQueue = 'all' | 'rx' | 'tx';

export type ObjectOptionsFilterBufferInsert = 'before' | 'behind';

export type ObjectOptionsInputLinuxGrabToggle =
  'ctrl-ctrl' | 'alt-alt' | 'shift-shift' | 'meta-meta' | 'scrolllock' | 'ctrl-scrolllock';

export type ObjectOptionsMemoryBackendEpcPolicy = 'default' | 'preferred' | 'bind' | 'interleave';

export type ObjectOptionsSecretFormat = 'raw' | 'base64';

export interface ObjectOptionsThrottleGroupLimits {
  'iops-total'?: Integer;
  'iops-total-max'?: Integer;
  'iops-total-max-length'?: Integer;
  'iops-read'?: Integer;
  'iops-read-max'?: Integer;
  'iops-read-max-length'?: Integer;
  'iops-write'?: Integer;
  'iops-write-max'?: Integer;
  'iops-write-max-length'?: Integer;
  'bps-total'?: Integer;
  'bps-total-max'?: Integer;
  'bps-total-max-length'?: Integer;
  'bps-read'?: Integer;
  'bps-read-max'?: Integer;
  'bps-read-max-length'?: Integer;
  'bps-write'?: Integer;
  'bps-write-max'?: Integer;
  'bps-write-max-length'?: Integer;
  'iops-size'?: Integer;
}

export type ObjectOptionsTlsCredsAnonEndpoint = 'client' | 'server';

export interface ChardevBackendFile {
  data: ChardevBackendFileData;
}

export interface ChardevBackendSerial {
  data: ChardevBackendSerialData;
}

export interface ChardevBackendSocket {
  data: ChardevBackendSocketData;
}

export interface ChardevBackendUdp {
  data: ChardevBackendUdpData;
}

export interface ChardevBackendPty {
  data: ChardevBackendPtyData;
}

export interface ChardevBackendMux {
  data: ChardevBackendMuxData;
}

export interface ChardevBackendStdio {
  data: ChardevBackendStdioData;
}

export interface ChardevBackendSpicevmc {
  data: ChardevBackendSpicevmcData;
}

export interface ChardevBackendSpiceport {
  data: ChardevBackendSpiceportData;
}

export interface ChardevBackendQemuVdagent {
  data: ChardevBackendQemuVdagentData;
}

export interface ChardevBackendDbus {
  data: ChardevBackendDbusData;
}

export interface ChardevBackendVc {
  data: ChardevBackendVcData;
}

export interface ChardevBackendRingbuf {
  data: ChardevBackendRingbufData;
}

export interface KeyValueNumber {
  data: Integer;
}

export interface KeyValueQcode {
  data: QKeyCode;
}

export type StatsResultStatsItemValue = Integer | boolean | Integer[];

export interface GuestPanickedEventInfoHyperV {
  arg1: Integer;
  arg2: Integer;
  arg3: Integer;
  arg4: Integer;
  arg5: Integer;
}

export interface GuestPanickedEventInfoS390 {
  core: Integer;
  'psw-mask': Integer;
  'psw-addr': Integer;
  reason: GuestPanickedEventInfoS390Reason;
}

export interface ImageInfoFormatSpecificQcow2 {
  data: ImageInfoFormatSpecificQcow2Data;
}

export interface ImageInfoFormatSpecificVmdk {
  data: ImageInfoFormatSpecificVmdkData;
}

export interface ImageInfoFormatSpecificLuks {
  data: ImageInfoFormatSpecificLuksData;
}

export interface ImageInfoFormatSpecificRbd {
  data: ImageInfoFormatSpecificRbdData;
}

export type BlockdevOptionsBlkdebugInjectErrorItemEvent =
  | 'l1_update'
  | 'l1_grow_alloc_table'
  | 'l1_grow_write_table'
  | 'l1_grow_activate_table'
  | 'l2_load'
  | 'l2_update'
  | 'l2_update_compressed'
  | 'l2_alloc_cow_read'
  | 'l2_alloc_write'
  | 'read_aio'
  | 'read_backing_aio'
  | 'read_compressed'
  | 'write_aio'
  | 'write_compressed'
  | 'vmstate_load'
  | 'vmstate_save'
  | 'cow_read'
  | 'cow_write'
  | 'reftable_load'
  | 'reftable_grow'
  | 'reftable_update'
  | 'refblock_load'
  | 'refblock_update'
  | 'refblock_update_part'
  | 'refblock_alloc'
  | 'refblock_alloc_hookup'
  | 'refblock_alloc_write'
  | 'refblock_alloc_write_blocks'
  | 'refblock_alloc_write_table'
  | 'refblock_alloc_switch_table'
  | 'cluster_alloc'
  | 'cluster_alloc_bytes'
  | 'cluster_free'
  | 'flush_to_os'
  | 'flush_to_disk'
  | 'pwritev_rmw_head'
  | 'pwritev_rmw_after_head'
  | 'pwritev_rmw_tail'
  | 'pwritev_rmw_after_tail'
  | 'pwritev'
  | 'pwritev_zero'
  | 'pwritev_done'
  | 'empty_image_prepare'
  | 'l1_shrink_write_table'
  | 'l1_shrink_free_l2_clusters'
  | 'cor_write'
  | 'cluster_alloc_space'
  | 'none';

export type BlockdevOptionsBlkdebugInjectErrorItemIotype =
  'read' | 'write' | 'write-zeroes' | 'discard' | 'flush' | 'block-status';

export type BlockdevOptionsNfsServerType = 'inet';

export interface BlockdevOptionsQcow2OverlapCheckObject {
  template?: BlockdevOptionsQcow2OverlapCheckWord;
  'main-header'?: boolean;
  'active-l1'?: boolean;
  'active-l2'?: boolean;
  'refcount-table'?: boolean;
  'refcount-block'?: boolean;
  'snapshot-table'?: boolean;
  'inactive-l1'?: boolean;
  'inactive-l2'?: boolean;
  'bitmap-directory'?: boolean;
}

export type BlockdevOptionsQcow2OverlapCheckWord = 'none' | 'constant' | 'cached' | 'all';

export interface BlockdevOptionsQcow2EncryptAes {
  'key-secret'?: string;
}

export interface BlockdevOptionsQcow2EncryptLuks {
  'key-secret'?: string;
}

export interface BlockdevOptionsRbdEncryptLuks {
  'key-secret': string;
}

export interface BlockdevOptionsRbdEncryptLuks2 {
  'key-secret': string;
}

export interface BlockdevOptionsSshHostKeyCheckHash {
  type: BlockdevOptionsSshHostKeyCheckHashType;
  hash: string;
}

export type BlockdevCreateOptionsFilePreallocation = 'off' | 'metadata' | 'falloc' | 'full';

export type BlockdevCreateOptionsLuksCipherAlg =
  | 'aes-128'
  | 'aes-192'
  | 'aes-256'
  | 'des'
  | '3des'
  | 'cast5-128'
  | 'serpent-128'
  | 'serpent-192'
  | 'serpent-256'
  | 'twofish-128'
  | 'twofish-192'
  | 'twofish-256';

export type BlockdevCreateOptionsLuksCipherMode = 'ecb' | 'cbc' | 'xts' | 'ctr';

export type BlockdevCreateOptionsLuksIvgenAlg = 'plain' | 'plain64' | 'essiv';

export type BlockdevCreateOptionsLuksIvgenHashAlg =
  'md5' | 'sha1' | 'sha224' | 'sha256' | 'sha384' | 'sha512' | 'ripemd160';

export type BlockdevCreateOptionsQcowEncrypt =
  | ({ format: 'qcow' } & BlockdevOptionsQcow2EncryptAes)
  | ({ format: 'luks' } & BlockdevCreateOptionsQcowEncryptLuks);

export type BlockdevCreateOptionsQcow2Version = 'v2' | 'v3';

export type BlockdevCreateOptionsQcow2BackingFmt =
  | 'blkdebug'
  | 'blklogwrites'
  | 'blkreplay'
  | 'blkverify'
  | 'bochs'
  | 'cloop'
  | 'compress'
  | 'copy-before-write'
  | 'copy-on-read'
  | 'dmg'
  | 'file'
  | 'snapshot-access'
  | 'ftp'
  | 'ftps'
  | 'gluster'
  | 'host_cdrom'
  | 'host_device'
  | 'http'
  | 'https'
  | 'iscsi'
  | 'luks'
  | 'nbd'
  | 'nfs'
  | 'null-aio'
  | 'null-co'
  | 'nvme'
  | 'parallels'
  | 'preallocate'
  | 'qcow'
  | 'qcow2'
  | 'qed'
  | 'quorum'
  | 'raw'
  | 'rbd'
  | 'replication'
  | 'ssh'
  | 'throttle'
  | 'vdi'
  | 'vhdx'
  | 'vmdk'
  | 'vpc'
  | 'vvfat';

export type BlockdevCreateOptionsQcow2CompressionType = 'zlib' | 'zstd';

export type BlockdevCreateOptionsRbdEncrypt =
  | ({ format: 'luks' } & BlockdevCreateOptionsRbdEncryptLuks)
  | ({ format: 'luks2' } & BlockdevCreateOptionsRbdEncryptLuks2);

export type BlockdevCreateOptionsVhdxSubformat = 'dynamic' | 'fixed';

export type BlockdevCreateOptionsVmdkSubformat =
  'monolithicSparse' | 'monolithicFlat' | 'twoGbMaxExtentSparse' | 'twoGbMaxExtentFlat' | 'streamOptimized';

export type BlockdevCreateOptionsVmdkAdapterType = 'ide' | 'buslogic' | 'lsilogic' | 'legacyESX';

export type BlockdevCreateOptionsVpcSubformat = 'dynamic' | 'fixed';

export interface TransactionActionBlockDirtyBitmapAddData {
  node: string;
  name: string;
  granularity?: Integer;
  persistent?: boolean;
  disabled?: boolean;
}

export interface TransactionActionBlockDirtyBitmapMergeData {
  node: string;
  target: string;
  bitmaps: TransactionActionBlockDirtyBitmapMergeDataBitmapsItem[];
}

export interface TransactionActionBlockdevSnapshotInternalSyncData {
  device: string;
  name: string;
}

export interface TransactionActionDriveBackupData {
  'job-id'?: string;
  device: string;
  sync: BlockdevBackupArgumentsSync;
  speed?: Integer;
  bitmap?: string;
  'bitmap-mode'?: BlockdevBackupArgumentsBitmapMode;
  compress?: boolean;
  'on-source-error'?: BlockCommitArgumentsOnError;
  'on-target-error'?: BlockCommitArgumentsOnError;
  'auto-finalize'?: boolean;
  'auto-dismiss'?: boolean;
  'filter-node-name'?: string;
  /** QEMU says: unstable. */
  'x-perf'?: BlockdevBackupArgumentsXPerf;
  target: string;
  format?: string;
  mode?: BlockdevSnapshotSyncArgumentsMode;
}

export interface MigrateSetParametersArgumentsBlockBitmapMappingItemBitmapsItemTransform {
  persistent?: boolean;
}

export interface PciDeviceInfoPciBridgeBus {
  number: Integer;
  secondary: Integer;
  subordinate: Integer;
  io_range: PciDeviceInfoPciBridgeBusIoRange;
  memory_range: PciDeviceInfoPciBridgeBusIoRange;
  prefetchable_range: PciDeviceInfoPciBridgeBusIoRange;
}

export type ObjectOptionsAuthzListRulesItemFormat = 'exact' | 'glob';

export interface ChardevBackendFileData {
  logfile?: string;
  logappend?: boolean;
  in?: string;
  out: string;
  append?: boolean;
}

export interface ChardevBackendSerialData {
  logfile?: string;
  logappend?: boolean;
  device: string;
}

export interface ChardevBackendSocketData {
  logfile?: string;
  logappend?: boolean;
  addr: ChardevBackendSocketDataAddr;
  'tls-creds'?: string;
  'tls-authz'?: string;
  server?: boolean;
  wait?: boolean;
  nodelay?: boolean;
  telnet?: boolean;
  tn3270?: boolean;
  websocket?: boolean;
  reconnect?: Integer;
}

export interface ChardevBackendUdpData {
  logfile?: string;
  logappend?: boolean;
  remote: ChardevBackendSocketDataAddr;
  local?: ChardevBackendSocketDataAddr;
}

export interface ChardevBackendPtyData {
  logfile?: string;
  logappend?: boolean;
}

export interface ChardevBackendMuxData {
  logfile?: string;
  logappend?: boolean;
  chardev: string;
}

export interface ChardevBackendStdioData {
  logfile?: string;
  logappend?: boolean;
  signal?: boolean;
}

export interface ChardevBackendSpicevmcData {
  logfile?: string;
  logappend?: boolean;
  type: string;
}

export interface ChardevBackendSpiceportData {
  logfile?: string;
  logappend?: boolean;
  fqdn: string;
}

export interface ChardevBackendQemuVdagentData {
  logfile?: string;
  logappend?: boolean;
  mouse?: boolean;
  clipboard?: boolean;
}

export interface ChardevBackendDbusData {
  logfile?: string;
  logappend?: boolean;
  name: string;
}

export interface ChardevBackendVcData {
  logfile?: string;
  logappend?: boolean;
  width?: Integer;
  height?: Integer;
  cols?: Integer;
  rows?: Integer;
}

export interface ChardevBackendRingbufData {
  logfile?: string;
  logappend?: boolean;
  size?: Integer;
}

export type QKeyCode =
  | 'unmapped'
  | 'shift'
  | 'shift_r'
  | 'alt'
  | 'alt_r'
  | 'ctrl'
  | 'ctrl_r'
  | 'menu'
  | 'esc'
  | '1'
  | '2'
  | '3'
  | '4'
  | '5'
  | '6'
  | '7'
  | '8'
  | '9'
  | '0'
  | 'minus'
  | 'equal'
  | 'backspace'
  | 'tab'
  | 'q'
  | 'w'
  | 'e'
  | 'r'
  | 't'
  | 'y'
  | 'u'
  | 'i'
  | 'o'
  | 'p'
  | 'bracket_left'
  | 'bracket_right'
  | 'ret'
  | 'a'
  | 's'
  | 'd'
  | 'f'
  | 'g'
  | 'h'
  | 'j'
  | 'k'
  | 'l'
  | 'semicolon'
  | 'apostrophe'
  | 'grave_accent'
  | 'backslash'
  | 'z'
  | 'x'
  | 'c'
  | 'v'
  | 'b'
  | 'n'
  | 'm'
  | 'comma'
  | 'dot'
  | 'slash'
  | 'asterisk'
  | 'spc'
  | 'caps_lock'
  | 'f1'
  | 'f2'
  | 'f3'
  | 'f4'
  | 'f5'
  | 'f6'
  | 'f7'
  | 'f8'
  | 'f9'
  | 'f10'
  | 'num_lock'
  | 'scroll_lock'
  | 'kp_divide'
  | 'kp_multiply'
  | 'kp_subtract'
  | 'kp_add'
  | 'kp_enter'
  | 'kp_decimal'
  | 'sysrq'
  | 'kp_0'
  | 'kp_1'
  | 'kp_2'
  | 'kp_3'
  | 'kp_4'
  | 'kp_5'
  | 'kp_6'
  | 'kp_7'
  | 'kp_8'
  | 'kp_9'
  | 'less'
  | 'f11'
  | 'f12'
  | 'print'
  | 'home'
  | 'pgup'
  | 'pgdn'
  | 'end'
  | 'left'
  | 'up'
  | 'down'
  | 'right'
  | 'insert'
  | 'delete'
  | 'stop'
  | 'again'
  | 'props'
  | 'undo'
  | 'front'
  | 'copy'
  | 'open'
  | 'paste'
  | 'find'
  | 'cut'
  | 'lf'
  | 'help'
  | 'meta_l'
  | 'meta_r'
  | 'compose'
  | 'pause'
  | 'ro'
  | 'hiragana'
  | 'henkan'
  | 'yen'
  | 'muhenkan'
  | 'katakanahiragana'
  | 'kp_comma'
  | 'kp_equals'
  | 'power'
  | 'sleep'
  | 'wake'
  | 'audionext'
  | 'audioprev'
  | 'audiostop'
  | 'audioplay'
  | 'audiomute'
  | 'volumeup'
  | 'volumedown'
  | 'mediaselect'
  | 'mail'
  | 'calculator'
  | 'computer'
  | 'ac_home'
  | 'ac_back'
  | 'ac_forward'
  | 'ac_refresh'
  | 'ac_bookmarks'
  | 'lang1'
  | 'lang2';

export type GuestPanickedEventInfoS390Reason =
  'unknown' | 'disabled-wait' | 'extint-loop' | 'pgmint-loop' | 'opint-loop';

export interface ImageInfoFormatSpecificQcow2Data {
  compat: string;
  'data-file'?: string;
  'data-file-raw'?: boolean;
  'extended-l2'?: boolean;
  'lazy-refcounts'?: boolean;
  corrupt?: boolean;
  'refcount-bits': Integer;
  encrypt?: ImageInfoFormatSpecificQcow2DataEncrypt;
  bitmaps?: ImageInfoFormatSpecificQcow2DataBitmapsItem[];
  'compression-type': BlockdevCreateOptionsQcow2CompressionType;
}

export interface ImageInfoFormatSpecificVmdkData {
  'create-type': string;
  cid: Integer;
  'parent-cid': Integer;
  extents: ImageInfo[];
}

export interface ImageInfoFormatSpecificLuksData {
  'cipher-alg': BlockdevCreateOptionsLuksCipherAlg;
  'cipher-mode': BlockdevCreateOptionsLuksCipherMode;
  'ivgen-alg': BlockdevCreateOptionsLuksIvgenAlg;
  'ivgen-hash-alg'?: BlockdevCreateOptionsLuksIvgenHashAlg;
  'hash-alg': BlockdevCreateOptionsLuksIvgenHashAlg;
  'payload-offset': Integer;
  'master-key-iters': Integer;
  uuid: string;
  slots: ImageInfoFormatSpecificLuksDataSlotsItem[];
}

export interface ImageInfoFormatSpecificRbdData {
  'encryption-format'?: ImageInfoFormatSpecificRbdDataEncryptionFormat;
}

export type BlockdevOptionsSshHostKeyCheckHashType = 'md5' | 'sha1' | 'sha256';

export interface BlockdevCreateOptionsQcowEncryptLuks {
  'key-secret'?: string;
  'cipher-alg'?: BlockdevCreateOptionsLuksCipherAlg;
  'cipher-mode'?: BlockdevCreateOptionsLuksCipherMode;
  'ivgen-alg'?: BlockdevCreateOptionsLuksIvgenAlg;
  'ivgen-hash-alg'?: BlockdevCreateOptionsLuksIvgenHashAlg;
  'hash-alg'?: BlockdevCreateOptionsLuksIvgenHashAlg;
  'iter-time'?: Integer;
}

export interface BlockdevCreateOptionsRbdEncryptLuks {
  'key-secret': string;
  'cipher-alg'?: BlockdevCreateOptionsLuksCipherAlg;
}

export interface BlockdevCreateOptionsRbdEncryptLuks2 {
  'key-secret': string;
  'cipher-alg'?: BlockdevCreateOptionsLuksCipherAlg;
}

export type TransactionActionBlockDirtyBitmapMergeDataBitmapsItem =
  string | BlockdevOptionsCopyBeforeWriteBitmap;

export interface PciDeviceInfoPciBridgeBusIoRange {
  base: Integer;
  limit: Integer;
}

export type ChardevBackendSocketDataAddr =
  | ({ type: 'inet' } & ChardevBackendSocketDataAddrInet)
  | ({ type: 'unix' } & ChardevBackendSocketDataAddrUnix)
  | ({ type: 'vsock' } & ChardevBackendSocketDataAddrVsock)
  | ({ type: 'fd' } & ChardevBackendSocketDataAddrFd);

export type ImageInfoFormatSpecificQcow2DataEncrypt =
  ({ format: 'luks' } & ImageInfoFormatSpecificLuksData) | { format: 'aes' };

export interface ImageInfoFormatSpecificQcow2DataBitmapsItem {
  name: string;
  granularity: Integer;
  flags: ImageInfoFormatSpecificQcow2DataBitmapsItemFlagsItem[];
}

export interface ImageInfoFormatSpecificLuksDataSlotsItem {
  active: boolean;
  iters?: Integer;
  stripes?: Integer;
  'key-offset': Integer;
}

export type ImageInfoFormatSpecificRbdDataEncryptionFormat = 'luks' | 'luks2';

export interface ChardevBackendSocketDataAddrInet {
  data: BlockdevOptionsSshServer;
}

export interface ChardevBackendSocketDataAddrUnix {
  data: MigrationInfoSocketAddressItemUnix;
}

export interface ChardevBackendSocketDataAddrVsock {
  data: MigrationInfoSocketAddressItemVsock;
}

export interface ChardevBackendSocketDataAddrFd {
  data: MigrationInfoSocketAddressItemFd;
}

export type ImageInfoFormatSpecificQcow2DataBitmapsItemFlagsItem = 'in-use' | 'auto';
