import type { Command } from 'commander';
import { startCheckout } from '../checkout.ts';
import { examples } from '../help.ts';
import type { World } from '../world.ts';

export function addStartCommands(parent: Command, world: World, setExitCode: (code: number) => void): void {
  parent
    .command('up')
    .summary('start everything here: server, database, agent')
    .description(
      'Starts everything on this machine, as npm start does, out of the checkout that we are in, and prints the address that logs you in. Settings come from the environment and from .env in this directory.',
    )
    .option('--port <port>', 'as VMO_PORT')
    .option('--host <address>', 'as VMO_HOST')
    .option('--data <directory>', 'as VMO_DATA_DIR')
    .addHelpText('after', examples('vmo up', 'vmo up --port 8080 --data ./data'))
    .action(async (options: StartOptions) => {
      setExitCode(await startCheckout(world, 'up', environmentOf(options)));
    });

  parent
    .command('api')
    .summary('start the server without slots for requests')
    .description(
      'Starts the server as up does, without slots of its own for simulation requests: agents elsewhere take them.',
    )
    .option('--port <port>', 'as VMO_PORT')
    .option('--host <address>', 'as VMO_HOST')
    .option('--data <directory>', 'as VMO_DATA_DIR')
    .addHelpText('after', examples('vmo api --host 0.0.0.0'))
    .action(async (options: StartOptions) => {
      setExitCode(await startCheckout(world, 'api', { ...environmentOf(options), VMO_AGENT_COUNT: '0' }));
    });

  parent
    .command('agents')
    .summary('start an agent of a server elsewhere')
    .description(
      'Starts an agent on this machine, out of the checkout that we are in: it takes jobs from the server at VMO_SERVER with its token, VMO_AGENT_TOKEN or VMO_AGENT_TOKEN_FILE. The token is made under Agents in the page, or by POST /agents.',
    )
    .option('--server <url>', 'as VMO_SERVER')
    .option('--data <directory>', 'as VMO_AGENT_DATA_DIR')
    .option('--slots <n>', 'jobs that run here at once, as VMO_MAX_CONCURRENT_JOBS')
    .option('--requests <n>', 'simulation requests that run here at once, as VMO_AGENT_COUNT')
    .addHelpText(
      'after',
      examples('VMO_AGENT_TOKEN_FILE=~/agent-token vmo agents --server https://cockpit.example.org:8000'),
    )
    .action(async ({ server, data, slots, requests }: AgentOptions) => {
      const env = {
        ...(server === undefined ? {} : { VMO_SERVER: server }),
        ...(data === undefined ? {} : { VMO_AGENT_DATA_DIR: data }),
        ...(slots === undefined ? {} : { VMO_MAX_CONCURRENT_JOBS: slots }),
        ...(requests === undefined ? {} : { VMO_AGENT_COUNT: requests }),
      };
      setExitCode(await startCheckout(world, 'agents', env));
    });
}

interface AgentOptions {
  server?: string;
  data?: string;
  slots?: string;
  requests?: string;
}

interface StartOptions {
  port?: string;
  host?: string;
  data?: string;
}

/** Only what was given: the rest is as the environment has it. */
function environmentOf({ port, host, data }: StartOptions): Record<string, string> {
  return {
    ...(port === undefined ? {} : { VMO_PORT: port }),
    ...(host === undefined ? {} : { VMO_HOST: host }),
    ...(data === undefined ? {} : { VMO_DATA_DIR: data }),
  };
}
