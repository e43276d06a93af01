import type { Command } from 'commander';
import { cliOf, type Cli } from '../cli.ts';
import { CliError, exitCodes } from '../exit-codes.ts';
import { examples } from '../help.ts';
import { bytesWords } from '../output/words.ts';
import type { World } from '../world.ts';

/** More are not counted, but said to be more. */
const mostCounted = 500;

export function addStatusCommand(parent: Command, world: World): void {
  parent
    .command('status')
    .summary('whether the server is up, and what it does')
    .description(
      'Says whether the server is up and ready, and what it does. Ends with 0 when it is ready, with 1 when it is not, with 3 when it cannot be reached.',
    )
    .addHelpText('after', examples('vmo status', 'vmo status --output json | jq .ready'))
    .action(async (_options: object, command: Command) => showStatus(cliOf(world, command)));
}

async function showStatus(cli: Cli): Promise<void> {
  const client = cli.client();
  const server = cli.server();
  // Public, and so known even where the token is wrong or the database away.
  const readiness = await client.call('readiness');
  const isReady = readiness.status === 'ready';
  const info = await client.call('getInfo');
  const inside = readiness.database === 'up' ? await lookInside(cli) : null;
  const { paint } = cli;
  await cli.printFacts(
    [
      ['server', `${server.url} (${server.urlFrom})`],
      ['version', info.version],
      ['status', isReady ? paint.good('ready') : paint.bad('not ready')],
      ['database', readiness.database === 'up' ? paint.good('up') : paint.bad('down')],
      ['agent', `${info.agent}: ${readiness.agent === 'up' ? paint.good('up') : paint.bad('down')}`],
      ['problems', readiness.problems.map((problem) => paint.bad(problem)).join('; ')],
      [
        'output that waits',
        readiness.unstoredJobs === 0 ? null : paint.warn(`of ${String(readiness.unstoredJobs)} jobs`),
      ],
      [
        'jobs',
        inside
          ? `${inside.running} running of ${String(info.maxConcurrentJobs)}, ${inside.pending} waiting`
          : null,
      ],
      [
        'requests',
        inside
          ? `${String(inside.requestsRunning)} running, ${String(inside.requestsPending)} waiting`
          : null,
      ],
      ['machines', inside ? `${String(inside.vmsRunning)} running of ${String(inside.vms)}` : null],
      [
        'logs',
        inside ? `${bytesWords(inside.logBytes)}, kept for ${String(info.eventRetentionDays)} days` : null,
      ],
    ],
    { url: server.url, ready: isReady, readiness, info, ...(inside ? { counts: inside } : {}) },
  );
  if (!isReady)
    throw new CliError('the server is not ready', exitCodes.failed, { hints: ['vmo doctor says more.'] });
}

async function lookInside(cli: Cli) {
  const client = cli.client();
  const count = async (status: 'running' | 'pending'): Promise<string> => {
    const { jobs, nextBefore } = await client.call('listJobs', { query: { status, limit: mostCounted } });
    // Runs of machines take no slots of jobs.
    const own = String(jobs.filter(({ type }) => type !== 'vm').length);
    return nextBefore === null ? own : `more than ${own}`;
  };
  const requests = async (status: 'running' | 'pending'): Promise<number> =>
    (await client.call('listRequests', { query: { status, limit: 1 } })).total;
  const [running, pending, requestsRunning, requestsPending, all, up, usage] = await Promise.all([
    count('running'),
    count('pending'),
    requests('running'),
    requests('pending'),
    client.call('listVms', { query: { limit: 1 } }),
    client.call('listVms', { query: { limit: 1, status: 'running' } }),
    client.call('getLogUsage'),
  ]);
  return {
    running,
    pending,
    requestsRunning,
    requestsPending,
    vms: all.total,
    vmsRunning: up.total,
    logBytes: usage.bytes,
  };
}
