import { join } from 'node:path';
import { createVmRunStrategy } from '@vmo/hypervisor';
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
import { createHypervisor } from './hypervisor.ts';
import type { Config } from './config.ts';
import type { Logger } from './kernel/logger.ts';
import type { HostReach } from './hosts/index.ts';
import type { Hypervisor } from './vms/index.ts';
import type { HostShell } from './workspaces/index.ts';

/** What the operating system can do, in the words of the domains that need it. */
export interface Execution {
  manager: ExecutionManager;
  terminals: TerminalAccess;
  reach: HostReach;
  hostShell: HostShell;
  hypervisor: Hypervisor;
  /** Lets go of terminals, connections and machines; what runs there goes on. */
  close(): Promise<void>;
}

export async function createExecution(config: Config, logger: Logger): Promise<Execution> {
  const { dataDirectory, terminalCommand, jobEnvironment } = config;
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
  const local = createLocalStreamStrategy({ table, cgroups });
  const hypervisor = createHypervisor(config, table, logger);
  return {
    manager: createExecutionManager([
      local,
      terminal,
      createSshStreamStrategy({ ...client.options, client }),
      createVmRunStrategy({ driver: hypervisor.driver, local }),
    ]),
    terminals: terminal.access,
    reach: { test: ssh.testHost, trust: ssh.trustHostKey },
    hostShell: { run: ssh.runOnHost },
    hypervisor,
    async close() {
      terminal.close();
      await hypervisor.driver.close();
    },
  };
}
