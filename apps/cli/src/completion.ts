import type { Client } from '@vmo/client';
import { Argument, type Command, type Option } from 'commander';
import { createCli } from './cli.ts';
import { write, type World } from './world.ts';

const shells = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof shells)[number];

/** A key press waits for it. */
const askMs = 1_500;
const mostNames = 50;

/** Each shell asks us with the words before the cursor; we answer a candidate a line, its description behind a tab. */
const scripts: Readonly<Record<Shell, string>> = {
  bash: `# vmo completion for bash: eval "$(vmo completion bash)" in ~/.bashrc
_vmo() {
  local line
  COMPREPLY=()
  while IFS= read -r line; do
    [ -n "$line" ] && COMPREPLY+=("\${line%%$'\\t'*}")
  done < <(vmo __complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _vmo vmo
`,
  zsh: `#compdef vmo
# vmo completion for zsh: eval "$(vmo completion zsh)" in ~/.zshrc, after compinit
_vmo() {
  local line
  local -a candidates
  while IFS= read -r line; do
    [[ -n "$line" ]] && candidates+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
  done < <(vmo __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)
  if (( \${#candidates} )); then _describe vmo candidates; else _files; fi
}
compdef _vmo vmo
`,
  fish: `# vmo completion for fish: vmo completion fish > ~/.config/fish/completions/vmo.fish
function __vmo_complete
    set -l words (commandline -opc) (commandline -ct)
    vmo __complete -- $words[2..-1] 2>/dev/null
end
complete -c vmo -a '(__vmo_complete)'
`,
};

export function addCompletionCommands(program: Command, world: World): void {
  program
    .command('completion')
    .summary('completion for your shell')
    .description('Prints what your shell needs to complete commands, options, machines and ids.')
    .addArgument(new Argument('<shell>', 'yours').choices(shells))
    .addHelpText(
      'after',
      `
Examples:
  eval "$(vmo completion bash)"      # in ~/.bashrc
  eval "$(vmo completion zsh)"       # in ~/.zshrc
  vmo completion fish > ~/.config/fish/completions/vmo.fish`,
    )
    .action(async (shell: Shell) => write(world.stdout, scripts[shell]));

  program
    .command('__complete', { hidden: true })
    .argument('[words...]')
    .action(async (words: string[]) => {
      const lines = await complete(program, world, words);
      await write(world.stdout, lines.map((line) => `${line}\n`).join(''));
    });
}

interface Place {
  command: Command;
  /** Arguments of it that stand there already. */
  given: number;
  /** The option whose value is being written. */
  option: Option | null;
}

/** Walks down the words that are there, as commander would. */
function placeOf(program: Command, words: readonly string[]): Place | null {
  let place: Place = { command: program, given: 0, option: null };
  for (const word of words) {
    // Behind it stands the person's own command.
    if (word === '--') return null;
    if (place.option) {
      place = { ...place, option: null };
      continue;
    }
    if (word.startsWith('-')) {
      const option = optionsOf(place.command).find(({ long, short }) => word === long || word === short);
      const takesValue = option !== undefined && (option.required || option.optional);
      place = { ...place, option: takesValue ? option : null };
      continue;
    }
    const next = place.command.commands.find((one) => one.name() === word || one.aliases().includes(word));
    place = next ? { command: next, given: 0, option: null } : { ...place, given: place.given + 1 };
  }
  return place;
}

function optionsOf(command: Command): Option[] {
  const help = command.createHelp();
  return [...help.visibleOptions(command), ...help.visibleGlobalOptions(command)];
}

async function complete(program: Command, world: World, words: readonly string[]): Promise<string[]> {
  const current = words.at(-1) ?? '';
  const place = placeOf(program, words.slice(0, -1));
  if (!place) return [];
  const { command, option } = place;
  const fits = (candidates: readonly string[]) => candidates.filter((one) => one.startsWith(current));
  if (option) return fits(option.argChoices ?? []);
  if (current.startsWith('-')) {
    return fits(
      optionsOf(command).map(({ long, short, description }) => `${long ?? short ?? ''}\t${description}`),
    );
  }
  const subcommands = command
    .createHelp()
    .visibleCommands(command)
    .map((one) => `${one.name()}\t${one.summary() || one.description()}`);
  if (subcommands.length > 0) return fits(subcommands);
  const { registeredArguments } = command;
  const argument = registeredArguments[place.given] ?? registeredArguments.at(-1);
  if (!argument || (place.given >= registeredArguments.length && !argument.variadic)) return [];
  if (argument.argChoices) return fits(argument.argChoices);
  return fits(await namesFor(argument.name(), world));
}

/** Names that the server knows; without a server, none. */
async function namesFor(argument: string, world: World): Promise<string[]> {
  const client = createCli(world, {}).client();
  const signal = AbortSignal.timeout(askMs);
  try {
    return await askFor(argument, client, signal);
  } catch {
    // A key press is no place for an error: there is just nothing to be offered.
    return [];
  }
}

async function askFor(argument: string, client: Client, signal: AbortSignal): Promise<string[]> {
  switch (argument) {
    case 'machine':
    case 'machines': {
      const { vms } = await client.call('listVms', { query: { limit: 1000 }, signal });
      return vms.map(({ name, status }) => `${name}\t${status}`);
    }
    case 'job':
    case 'jobs': {
      const { jobs } = await client.call('listJobs', { query: { limit: mostNames }, signal });
      return jobs.map(
        ({ id, status, command }) => `${id}\t${status}: ${command.slice(0, 60).replace(/\s+/g, ' ')}`,
      );
    }
    case 'request': {
      const { requests } = await client.call('listRequests', { query: { limit: mostNames }, signal });
      return requests.map(({ uuid, status, vm_name: name }) => `${uuid}\t${status}: ${name}`);
    }
    case 'vms': {
      const { templates } = await client.call('listTemplates', { signal });
      const { images } = await client.call('listImages', { signal });
      const { vms } = await client.call('listVms', { query: { limit: 1000, status: 'stopped' }, signal });
      return [...templates, ...images.filter(({ kind }) => kind === 'disk'), ...vms].map(({ name }) => name);
    }
    default:
      return [];
  }
}
