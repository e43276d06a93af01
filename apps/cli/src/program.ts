import { join } from 'node:path';
import { Command, Option } from 'commander';
import { readManifest } from './checkout.ts';
import { outputForms } from './cli.ts';
import { addConfigCommand } from './commands/config.ts';
import { addDoctorCommand } from './commands/doctor.ts';
import { addJobCommands } from './commands/jobs.ts';
import { addRequestCommands } from './commands/requests.ts';
import { addRunCommand } from './commands/run.ts';
import { addStartCommands } from './commands/start.ts';
import { addStatusCommand } from './commands/status.ts';
import { addVmCommands } from './commands/vm.ts';
import { addCompletionCommands } from './completion.ts';
import type { World } from './world.ts';

const exitCodeHelp = `
Exit codes: 0 well, 1 it came out badly, 2 wrong usage, 3 no server, 4 not let in,
5 not found, 6 not possible in this state, 7 the server cannot do it now, 130 interrupted.
run and submit --wait end with the code of the command, else 124 time limit,
125 no exit code, 130 cancelled.

The server is found by --url or VMO_URL, with the token VMO_TOKEN; a server on this
machine by what it leaves in its data directory, and nothing has to be set.`;

/**
 * The whole command line.
 * @param setExitCode for commands whose end is that of another one
 */
export function createProgram(world: World, setExitCode: (code: number) => void): Command {
  const program = new Command('vmo')
    .description('The command line of VM-Orchestrator: jobs, machines, simulation requests.')
    .version(readManifest(join(import.meta.dirname, '..'))?.version ?? 'unknown', '-V, --version')
    .addOption(
      new Option('-o, --output <form>', 'the form of what is printed').choices(outputForms).default('table'),
    )
    .option('--no-color', 'no colour, as with NO_COLOR')
    .option('--url <address>', 'of the server, in place of VMO_URL')
    .configureHelp({ showGlobalOptions: true, sortSubcommands: false })
    .configureOutput({
      writeOut: (text) => void world.stdout.write(text),
      writeErr: (text) => void world.stderr.write(text),
      outputError: (text, write) => write(text.replace(/^error: /, 'vmo: ')),
      getOutHelpWidth: () => (world.stdout.isTTY ? world.stdout.columns : 80),
      getErrHelpWidth: () => (world.stderr.isTTY ? world.stderr.columns : 80),
    })
    .showSuggestionAfterError()
    .exitOverride()
    .addHelpText('after', exitCodeHelp);

  program.commandsGroup('Simulation requests:');
  addRequestCommands(program, world, setExitCode);
  // As the tool was called that had these commands first: vmo cli list-requests.
  const cli = program.command('cli', { hidden: true }).description('The commands of simulation requests.');
  addRequestCommands(cli, world, setExitCode);
  program.commandsGroup('Jobs:');
  addRunCommand(program, world, setExitCode);
  addJobCommands(program, world);
  program.commandsGroup('Machines:');
  addVmCommands(program, world);
  program.commandsGroup('Server:');
  addStartCommands(program, world, setExitCode);
  addStatusCommand(program, world);
  addConfigCommand(program, world);
  addDoctorCommand(program, world);
  addCompletionCommands(program, world);
  return program;
}
