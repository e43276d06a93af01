import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { UnreachableError } from '@vmo/client';
import { SettingList, type Setting } from '@vmo/contract';
import type { Command } from 'commander';
import { findCheckout } from '../checkout.ts';
import { cliOf, type Cli } from '../cli.ts';
import { CliError, exitCodes } from '../exit-codes.ts';
import type { Column } from '../output/table.ts';
import type { World } from '../world.ts';

export function addConfigCommand(parent: Command, world: World): void {
  const command = parent
    .command('config')
    .summary('the settings in effect')
    .description(
      'Shows the settings that the server runs with, where each comes from, and how we reach it; secrets as ***. Where no server runs, and with --check, those that a start in this directory would have; ends with 1 when it could not start with them.',
    )
    .option('--check', 'not those of the running server, but of a start in this directory')
    .addHelpText(
      'after',
      `
Examples:
  vmo config
  VMO_PORT=80x vmo config --check`,
    );
  command.action(async (options: { check?: boolean }) => {
    const cli = cliOf(world, command);
    await showConfig(cli, options.check ?? false);
  });
}

async function showConfig(cli: Cli, isCheck: boolean): Promise<void> {
  const checkout = findCheckout(cli.world);
  const settings = isCheck ? null : await ofServer(cli, checkout !== null);
  const shown = settings ?? (await ofCheckout(cli, checkout));
  const { url, urlFrom, tokenFrom, token } = cli.server();
  if (cli.output === 'json') {
    const client = { url, urlFrom, token: token === null ? null : '***', tokenFrom };
    await cli.printJson({ client, of: settings ? 'server' : 'start', settings: shown });
  } else {
    await cli.printList(columns(cli), shown);
    if (cli.output === 'table') {
      cli.note(
        cli.errorPaint.dim(
          `vmo: server ${url} (${urlFrom}), token ${token === null ? tokenFrom : `from ${tokenFrom}`}`,
        ),
      );
    }
  }
  const problems = shown.flatMap(({ problem }) => (problem === null ? [] : [problem]));
  const [first, ...others] = problems;
  if (first !== undefined) throw new CliError(first, exitCodes.failed, { hints: others });
}

function columns(cli: Cli): Column<Setting>[] {
  const { paint } = cli;
  return [
    { title: 'SETTING', value: ({ name }) => name },
    {
      title: 'VALUE',
      value: ({ value }) => value ?? '',
      paint: (text, { problem }) => (problem === null ? text : paint.bad(text)),
      isFlexible: true,
    },
    {
      title: 'FROM',
      value: ({ source }) => source,
      paint: (text, { source }) => (source === 'default' ? paint.dim(text) : text),
    },
  ];
}

/** null: no server is there, and a checkout is, which can answer instead. */
async function ofServer(cli: Cli, canAskCheckout: boolean): Promise<Setting[] | null> {
  try {
    return (await cli.client().call('getSettings')).settings;
  } catch (error) {
    if (!(error instanceof UnreachableError) || !canAskCheckout) throw error;
    cli.note(
      cli.errorPaint.dim('vmo: no server answers; these are the settings of a start in this directory'),
    );
    return null;
  }
}

/** The server's own program says what it would start with. */
async function ofCheckout({ world }: Cli, checkout: string | null): Promise<Setting[]> {
  if (checkout === null) {
    throw new CliError(
      'this is no checkout of VM-Orchestrator: nothing could be started here',
      exitCodes.usage,
    );
  }
  const program = join(checkout, 'apps', 'server', 'src', 'main.ts');
  const child = spawn(process.execPath, [program, '--settings'], {
    cwd: world.cwd,
    env: { ...world.env, INIT_CWD: world.cwd },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = once(child, 'close');
  const [answer, said] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  if (child.exitCode !== 0) throw new CliError(said.trim().replace(/^vmo: /, ''));
  return SettingList.parse(JSON.parse(answer)).settings;
}
