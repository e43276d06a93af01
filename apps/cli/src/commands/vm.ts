import {
  allowedActions,
  NewVm,
  parseInput,
  type TemplateId,
  VmStatus,
  type VmAction,
  type VmSummary,
} from '@vmo/contract';
import { Argument, Option, type Command } from 'commander';
import { confirm } from '../ask.ts';
import { cliOf, type Cli } from '../cli.ts';
import { CliError, exitCodes } from '../exit-codes.ts';
import { examples } from '../help.ts';
import { collect, size, wholeNumber } from '../options.ts';
import { listWords } from '../output/words.ts';
import { findVm, listAllVms, type VmListFilter } from '../resolve.ts';
import type { World } from '../world.ts';
import { addConsoleCommand } from './vm-console.ts';
import { vmColumns, vmFacts } from './vm-columns.ts';
import { waitForOperations } from './operations.ts';

const mib = 1024 * 1024;

interface ActionWords {
  action: VmAction;
  summary: string;
  description: string;
  /** It cannot be taken back. */
  asks?: string;
}

const actions: readonly ActionWords[] = [
  { action: 'start', summary: 'start machines', description: 'Starts machines.' },
  {
    action: 'stop',
    summary: 'ask guests to shut down, and see to it that they do',
    description:
      'Stops machines: the guest agent, the power button twice, then less politely; what ended it is said.',
  },
  {
    action: 'force-stop',
    summary: 'pull the plug',
    description: 'Pulls the plug: what a guest has not written to its disks is lost.',
    asks: 'Pull the plug of',
  },
  {
    action: 'reset',
    summary: 'press the reset button',
    description: 'As the reset button: what a guest has not written to its disks is lost.',
    asks: 'Reset',
  },
  {
    action: 'pause',
    summary: 'let machines stand still',
    description: 'Lets machines stand still; memory is kept.',
  },
  { action: 'resume', summary: 'go on after a pause', description: 'Lets paused machines go on.' },
];

const machines = () => new Argument('<machines...>', 'names, or the beginnings of ids');
const noWait = () => new Option('--no-wait', 'do not wait for the end of it');

export function addVmCommands(parent: Command, world: World): void {
  const vm = parent
    .command('vm')
    .summary('virtual machines')
    .description('Virtual machines: list, make, start, stop, open their console.')
    .addHelpText(
      'after',
      `
Examples:
  vmo vm list --status running
  vmo vm create web --image debian-13.qcow2 --memory 1G --start
  vmo vm console web`,
    );

  vm.command('list')
    .alias('ls')
    .summary('list machines, by name')
    .description('Lists machines, by name.')
    .addOption(new Option('-s, --status <status>', 'only those').choices(VmStatus.options))
    .option('-q, --query <text>', 'only those with this in their name')
    .addHelpText('after', examples('vmo vm list --status running'))
    .action(async (options: { status?: VmStatus; query?: string }, command: Command) => {
      const cli = cliOf(world, command);
      const filter: VmListFilter = {};
      if (options.status) filter.status = options.status;
      if (options.query !== undefined) filter.q = options.query;
      await cli.printList(vmColumns(cli), await listAllVms(cli.client(), filter));
    });

  vm.command('show')
    .summary('all about a machine')
    .description('Shows all about a machine.')
    .argument('<machine>', 'its name, or the beginning of its id')
    .addHelpText('after', examples('vmo vm show web'))
    .action(async (text: string, _options: object, command: Command) => {
      const cli = cliOf(world, command);
      const { id } = await findVm(cli.client(), text);
      const { vm: found } = await cli.client().call('getVm', { params: { vmId: id } });
      await cli.printFacts(vmFacts(cli, found), found);
    });

  for (const words of actions) addAction(vm, world, words);
  addConsoleCommand(vm, world);
  addCreate(vm, world);
  addDelete(vm, world);
  addClone(vm, world);
  addTry(vm, world);
}

async function findAll(cli: Cli, texts: readonly string[]): Promise<VmSummary[]> {
  // All are found before anything is done: a mistyped name must not leave half of it done.
  const found: VmSummary[] = [];
  for (const text of texts) found.push(await findVm(cli.client(), text));
  return found;
}

const namesOf = (vms: readonly VmSummary[]) => listWords(vms.map(({ name }) => name));

function addAction(vm: Command, world: World, { action, summary, description, asks }: ActionWords): void {
  const states = VmStatus.options.filter((status) => allowedActions[status].includes(action));
  const command = vm
    .command(action)
    .summary(summary)
    .description(`${description} Possible when ${listWords(states, 'or')}.`)
    .addArgument(machines())
    .addOption(noWait())
    .addHelpText('after', examples(`vmo vm ${action} web`, `vmo vm ${action} web db --no-wait`));
  if (asks !== undefined) command.option('-y, --yes', 'do not ask');
  command.action(async (texts: string[], options: { wait: boolean; yes?: boolean }) => {
    const cli = cliOf(world, command);
    const vms = await findAll(cli, texts);
    if (asks !== undefined) await confirm(world, `${asks} ${namesOf(vms)}?`, options.yes ?? false);
    const [only, another] = vms;
    if (only && !another) {
      const { operation } = await cli
        .client()
        .call('actOnVm', { params: { vmId: only.id }, body: { action } });
      await waitForOperations(cli, [operation], options.wait);
      return;
    }
    const { operations, refused } = await cli
      .client()
      .call('actOnVms', { body: { vmIds: vms.map(({ id }) => id), action } });
    await waitForOperations(cli, operations, options.wait);
    if (refused.length === 0) return;
    const nameOf = (id: string) => vms.find((one) => one.id === id)?.name ?? id;
    throw new CliError(
      `${String(refused.length)} of ${String(vms.length)} machines refused`,
      exitCodes.conflict,
      {
        hints: refused.map(({ vmId, reason }) => `${nameOf(vmId)}: ${reason}`),
      },
    );
  });
}

interface CreateOptions {
  image?: string;
  disk?: number;
  template?: string;
  kernel?: string;
  initrd?: string;
  append?: string;
  cpus?: number;
  memory?: number;
  network?: string;
  restrict?: boolean;
  forward?: string[];
  display?: 'vnc' | 'none';
  start?: boolean;
}

function addCreate(vm: Command, world: World): void {
  const command = vm
    .command('create')
    .summary('make a machine')
    .description('Makes a machine from an image, a template, an empty disk or a kernel.')
    .argument('<name>', 'of the machine')
    .option('--image <name>', 'its first disk is an overlay on this image')
    .option(
      '--disk <size>',
      'of the first disk, as 20G: with --image at least as large as it, else empty',
      size,
    )
    .option('--template <name>', 'what is not given here comes from it')
    .option('--kernel <image>', 'boot this kernel')
    .option('--initrd <image>', 'with this initial RAM disk')
    .option('--append <words>', 'and this kernel command line')
    .option('--cpus <number>', 'default 1', wholeNumber(1, 256))
    .option('--memory <size>', 'as 512M or 4G; default 512M', size)
    .option('--network <mode>', 'user, none, or bridge:NAME')
    .option('--restrict', 'the guest reaches nothing outside')
    .option('--forward <port>', 'a port of the guest that gets one on 127.0.0.1; again for more', collect)
    .addOption(new Option('--display <kind>', 'default vnc').choices(['vnc', 'none']))
    .option('--start', 'start it at once')
    .addHelpText(
      'after',
      `
Examples:
  vmo vm create web --image debian-13.qcow2 --memory 1G --forward 22 --forward 80 --start
  vmo vm create empty --disk 20G`,
    );
  command.action(async (name: string, options: CreateOptions) => {
    const cli = cliOf(world, command);
    const body = await toNewVm(cli, name, options);
    const { vm: made } = await cli.client().call('createVm', { body });
    await waitForAll(cli, made, true);
    if (cli.output === 'table' && !options.start) await cli.print(`To start it: vmo vm start ${made.name}`);
  });
}

async function toNewVm(cli: Cli, name: string, options: CreateOptions): Promise<NewVm> {
  const given: Record<string, unknown> = {
    name,
    image: options.image,
    diskSizeBytes: options.disk,
    template: options.template === undefined ? undefined : await findTemplate(cli, options.template),
    boot:
      options.kernel === undefined
        ? undefined
        : { from: 'kernel', kernel: options.kernel, initrd: options.initrd, append: options.append },
    cpus: options.cpus,
    memoryMib: options.memory === undefined ? undefined : Math.floor(options.memory / mib),
    network: toNetwork(options),
    display: options.display,
    start: options.start,
  };
  // As JSON has it: what is undefined is not there.
  const body: unknown = JSON.parse(JSON.stringify(given));
  parseInput(NewVm, body);
  return NewVm.parse(body);
}

function toNetwork({ network, restrict, forward }: CreateOptions): unknown {
  if (network === undefined && restrict === undefined && forward === undefined) return undefined;
  const mode = network ?? 'user';
  if (mode.startsWith('bridge:')) return { mode: 'bridge', bridge: mode.slice('bridge:'.length) };
  if (mode !== 'user') return { mode };
  return { mode, restrict, forward: (forward ?? []).map(Number) };
}

async function findTemplate(cli: Cli, text: string): Promise<TemplateId> {
  const { templates } = await cli.client().call('listTemplates');
  const found = templates.find(({ id, name }) => name === text || id === text);
  if (found) return found.id;
  const names = templates.map(({ name }) => name);
  throw new CliError(`there is no template ${text}`, exitCodes.notFound, {
    hints: [names.length === 0 ? 'There are no templates yet.' : `There are ${listWords(names)}.`],
  });
}

function addDelete(vm: Command, world: World): void {
  const command = vm
    .command('delete')
    .alias('rm')
    .summary('delete stopped machines')
    .description('Deletes stopped machines, each with its first disk.')
    .addArgument(machines())
    .option('--disks', 'with all its disks')
    .option('-y, --yes', 'do not ask')
    .addOption(noWait())
    .addHelpText('after', examples('vmo vm delete web', 'vmo vm delete web db --disks --yes'));
  command.action(async (texts: string[], options: { disks?: boolean; yes?: boolean; wait: boolean }) => {
    const cli = cliOf(world, command);
    const vms = await findAll(cli, texts);
    const what = options.disks ? 'all their disks' : 'their first disk';
    await confirm(world, `Delete ${namesOf(vms)} and ${what}, for ever?`, options.yes ?? false);
    const operations = [];
    for (const { id: vmId } of vms) {
      const query = options.disks ? { disks: 'true' } : {};
      operations.push((await cli.client().call('deleteVm', { params: { vmId }, query })).operation);
    }
    await waitForOperations(cli, operations, options.wait);
  });
}

function addClone(vm: Command, world: World): void {
  const command = vm
    .command('clone')
    .summary('make a copy of a stopped machine')
    .description('Makes a stopped machine again, with full copies of its disks.')
    .argument('<machine>', 'its name, or the beginning of its id')
    .argument('<name>', 'of the copy')
    .addOption(noWait())
    .addHelpText('after', examples('vmo vm clone web web-2'));
  command.action(async (text: string, name: string, options: { wait: boolean }) => {
    const cli = cliOf(world, command);
    const { id: vmId } = await findVm(cli.client(), text);
    const { operation } = await cli.client().call('cloneVm', { params: { vmId }, body: { name } });
    await waitForOperations(cli, [operation], options.wait);
  });
}

/** A machine that is to start at once is made and then started: both have been asked for. */
async function waitForAll(cli: Cli, { id: vmId }: Pick<VmSummary, 'id'>, isWaiting: boolean): Promise<void> {
  const { operations } = await cli.client().call('listVmOperations', { params: { vmId } });
  await waitForOperations(cli, operations.toReversed(), isWaiting);
}

function addTry(vm: Command, world: World): void {
  const command = vm
    .command('try')
    .summary('make and start a small machine to try things with')
    .description(
      'Builds a small guest of the kernel and busybox of the server’s machine, makes a machine of it and starts it.',
    )
    .addOption(noWait())
    .addHelpText('after', examples('vmo vm try'));
  command.action(async (options: { wait: boolean }) => {
    const cli = cliOf(world, command);
    const { vm: made } = await cli.client().call('tryVm');
    await waitForAll(cli, made, options.wait);
    if (cli.output === 'table') await cli.print(`To look at it: vmo vm console ${made.name}`);
  });
}
