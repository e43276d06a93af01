export { probeCgroups, type Cgroups } from './cgroup.ts';
export { freeBytes, isDiskFull } from './disk.ts';
export { freeBlocks } from './free-blocks.ts';
export { createLocalStreamStrategy } from './local.ts';
export { Mask } from './mask.ts';
export { createExecutionManager, type ExecutionManager } from './manager.ts';
export {
  createProcessTable,
  isAlive,
  signalProcess,
  type ProcessIdentity,
  type ProcessTable,
} from './process.ts';
export { readIdentity, runDirectoryExists, signalOfExitCode, spoolSizes } from './run-directory.ts';
export {
  StartError,
  type LogPlace,
  type RequestLink,
  type Run,
  type RunEnd,
  type RunSpec,
  type Strategy,
} from './run.ts';
export { SpoolReader, watchDirectory } from './spool.ts';
export { createSshClient, type SshClient, type SshClientOptions, type SshTarget } from './ssh/client.ts';
export { createSshHosts, type RemoteAnswer, type RemoteCall, type SshHosts } from './ssh/hosts.ts';
export { createSshStreamStrategy, type SshStrategyOptions } from './ssh/strategy.ts';
export { attachedTailBytes } from './terminal/attach.ts';
export { externalTerminalCommand } from './terminal/external.ts';
export {
  createTerminalSpawnStrategy,
  type TerminalAccess,
  type TerminalStrategy,
  type TerminalStrategyOptions,
} from './terminal/strategy.ts';
