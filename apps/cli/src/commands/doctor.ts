import type { Command } from 'commander';
import { cliOf, type Cli } from '../cli.ts';
import type { Finding } from '../doctor/check.ts';
import { checkHere } from '../doctor/local.ts';
import { checkServer } from '../doctor/server.ts';
import { CliError, exitCodes } from '../exit-codes.ts';
import { examples } from '../help.ts';
import { oneLine } from '../output/table.ts';
import { createProgress } from '../output/progress.ts';
import type { World } from '../world.ts';

export function addDoctorCommand(parent: Command, world: World): void {
  const command = parent
    .command('doctor')
    .summary('find out what is wrong, and how to mend it')
    .description(
      'Looks at the server and at this machine: QEMU, KVM (a guest is booted), disk, database, port, token. Says how to mend what is wrong. Works also where no server runs. Ends with 1 when there is a problem.',
    )
    .option('--here', 'look at this machine, also where the server is another one');
  command.addHelpText('after', examples('vmo doctor', 'vmo doctor --here --output json'));
  command.action(async (options: { here?: boolean }) => {
    await examine(cliOf(world, command), options.here ?? false);
  });
}

async function examine(cli: Cli, wantsHere: boolean): Promise<void> {
  const address = cli.server();
  const progress = createProgress(cli);
  const findings: Finding[] = [];
  try {
    findings.push(...(await checkServer(cli.client(), address, progress.say)));
    const isUp = findings.some(({ what, state }) => what === 'server' && state === 'ok');
    // That of another machine says nothing about this one.
    if (wantsHere || address.dataDirectory !== null) {
      const directory = address.dataDirectory ?? cli.world.cwd;
      findings.push(...(await checkHere(cli.world, directory, isUp, progress.say)));
    }
  } finally {
    progress.end();
  }
  await printFindings(cli, findings);
  const problems = findings.filter(({ state }) => state === 'problem').length;
  if (problems > 0) {
    throw new CliError(
      `${String(problems)} ${problems === 1 ? 'problem' : 'problems'} found`,
      exitCodes.failed,
    );
  }
}

function printFindings(cli: Cli, findings: readonly Finding[]): Promise<void> {
  if (cli.output !== 'table') {
    return cli.printList<Finding>(
      [
        { title: 'what', value: ({ what }) => what },
        { title: 'state', value: ({ state }) => state },
        { title: 'words', value: ({ words }) => words },
        { title: 'mend', value: ({ mend }) => mend ?? '' },
      ],
      findings,
    );
  }
  const { paint } = cli;
  const marks = { ok: paint.good('✓'), warning: paint.warn('!'), problem: paint.bad('✕') };
  const width = Math.max(...findings.map(({ what }) => what.length));
  return cli.print(
    ...findings.flatMap(({ what, state, words, mend }) => [
      `${marks[state]} ${what.padEnd(width)}  ${oneLine(words)}`,
      ...(mend === null ? [] : [`  ${' '.repeat(width)}  ${paint.dim(oneLine(mend))}`]),
    ]),
  );
}
