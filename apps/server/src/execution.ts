import { join } from 'node:path';
import {
  createExecutionManager,
  createLocalStreamStrategy,
  createProcessTable,
  createSshClient,
  createSshHosts,
  createSshStreamStrategy,
  createTerminalSpawnStrategy,
  probeCgroups,
  type ExecutionManager,
  type TerminalAccess,
} from '@vmo/execution';
import type { Config } from './config.ts';
import type { HostReach } from './hosts/index.ts';
import type { HostShell } from './workspaces/index.ts';

/** What the operating system can do, in the words of the domains that need it. */
export interface Execution {
  manager: ExecutionManager;
  terminals: TerminalAccess;
  reach: HostReach;
  hostShell: HostShell;
  /** Lets go of terminals and connections; what runs there goes on. */
  close(): void;
}

export async function createExecution({
  dataDirectory,
  terminalCommand,
  jobEnvironment,
}: Config): Promise<Execution> {
  const table = createProcessTable();
  const cgroups = await probeCgroups();
  const terminal = createTerminalSpawnStrategy({
    table,
    cgroups,
    hostDirectory: join(dataDirectory, 'terminal-host'),
    termCmd: terminalCommand ?? '',
    environment: jobEnvironment,
  });
  const client = createSshClient({
    knownHostsFile: join(dataDirectory, 'ssh', 'known_hosts'),
    controlDirectory: join(dataDirectory, 'ssh', 'control'),
    env: jobEnvironment,
  });
  const ssh = createSshHosts({ ...client.options, client });
  return {
    manager: createExecutionManager([
      createLocalStreamStrategy({ table, cgroups }),
      terminal,
      createSshStreamStrategy({ ...client.options, client }),
    ]),
    terminals: terminal.access,
    reach: { test: ssh.testHost, trust: ssh.trustHostKey },
    hostShell: { run: ssh.runOnHost },
    close: terminal.close,
  };
}
