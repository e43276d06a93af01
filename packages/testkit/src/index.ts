export { temporaryDirectory, type TemporaryDirectory } from './temporary-directory.ts';
export { testDatabase, type TestDatabase } from './database.ts';
export {
  fakeQmpGreeting,
  qmpLine,
  startFakeQmp,
  type FakeQmp,
  type FakeQmpCommand,
  type FakeQmpConnection,
} from './fake-qmp.ts';
export { startFaultProxy, type FaultProxy } from './fault-proxy.ts';
export { largeCapacity } from './large-capacity.ts';
export { noiseDigests, seededRandom, type Digest, type NoiseStream } from './noise.ts';
export { noiseCommand, type NoiseOptions } from './noise-command.ts';
export { startTestAgent, type TestAgent, type TestAgentOptions } from './agent.ts';
export { startTestPostgres, type TestPostgres } from './postgres.ts';
export {
  isRunning,
  memoryOf,
  openFilesOf,
  processesOfJob,
  processesOfJobs,
  startTimeOf,
  zombiesOf,
} from './processes.ts';
export { startSshd, type TestSshd } from './sshd.ts';
export { startTestServer, type TestServer, type TestServerOptions } from './server.ts';
export { mountTmpfs, type Tmpfs } from './tmpfs.ts';
export { until } from './until.ts';
