export { temporaryDirectory, type TemporaryDirectory } from './temporary-directory.ts';
export { testDatabase, type TestDatabase } from './database.ts';
export { startFaultProxy, type FaultProxy } from './fault-proxy.ts';
export { startSshd, type TestSshd } from './sshd.ts';
export { startTestServer, type TestServer, type TestServerOptions } from './server.ts';
export { until } from './until.ts';
