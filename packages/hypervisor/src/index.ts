export {
  DriverError,
  type DiskNow,
  type Driver,
  type DriverProblem,
  type LadderTimes,
  type Machine,
  type MachineEvent,
  type MachineSample,
  type MachineStatus,
  type PreparedMachine,
  type PrepareOptions,
  type Stranger,
} from './driver.ts';
export { findSmallGuestParts, type SmallGuestParts } from './guest/parts.ts';
export {
  buildSmallGuest,
  runAtBoot,
  smallGuestBanner,
  smallGuestKernelArguments,
  smallGuestPrompt,
  type SmallGuest,
  type SmallGuestOptions,
} from './guest/small-guest.ts';
export { detectFormat, type DetectedFormat } from './images/detect.ts';
export { ImageError, type ImageProblem } from './images/errors.ts';
export {
  defaultMaxVirtualBytes,
  examineImage,
  type ImageChain,
  type InspectOptions,
} from './images/inspect.ts';
export {
  createQemuImg,
  type ConvertRequest,
  type ImageCheck,
  type ImageInfo,
  type ImageSnapshot,
  type QemuImg,
  type QemuImgOptions,
} from './images/qemu-img.ts';
export { removeForGood } from './images/remove.ts';
export { defaultMaxDiskBytes, diskBytes, formatBytes } from './images/sizes.ts';
export { checkFileName, openStorage, type DiskFormat, type Storage } from './images/storage.ts';
export { probeHost, type HostCapabilities, type KvmState, type ProbeOptions } from './probe/probe.ts';
export { sandboxArgument, type QemuFeatures } from './probe/trial.ts';
export { findProgram } from './program.ts';
export { connectQmp, type QmpClient, type QmpConnectOptions } from './qmp/client.ts';
export {
  isQmpEvent,
  type Execute,
  type ExecuteOptions,
  type QmpArguments,
  type QmpEventOf,
  type QmpReturn,
} from './qmp/command.ts';
export { QmpClosedError, QmpError, QmpTimeoutError, type QmpCloseReason } from './qmp/errors.ts';
export type { QmpEvent, QmpGreeting, QmpVersion } from './qmp/messages.ts';
export { startQmpMonitor, type QmpMonitor, type QmpMonitorOptions } from './qmp/monitor.ts';
export type { QmpCommands, QmpEvents } from './qmp/schema.generated.ts';
export { createQemuDriver, type QemuDriverOptions } from './qemu/driver.ts';
export { createQemuHost, defaultQemuBinary, type QemuHost, type QemuHostOptions } from './qemu/host.ts';
export { runner } from './request/runner.ts';
export { createVmRunStrategy, type VmRunOptions } from './run-strategy.ts';
