import { goto } from '$app/navigation';
import { allowedActions, type JobStatus, type VmStatus, type VmSummary } from '@vmo/contract';
import { actionWords, asksFirst } from '../vm-status.ts';
import { jobHistory } from './history.svelte.ts';
import { jobs } from './jobs.svelte.ts';
import { layout } from './layout.svelte.ts';
import { run } from './run.svelte.ts';
import { keyWords, shortcuts } from './shortcuts.svelte.ts';
import { view } from './view.svelte.ts';
import { vms } from './vms.svelte.ts';
import { workspaces } from './workspaces.svelte.ts';

export interface Entry {
  id: string;
  group: string;
  label: string;
  detail: string;
  mono: boolean;
  keys?: string;
  status?: JobStatus;
  machine?: VmStatus;
  disabled?: boolean;
  act: () => void;
}

const jobsMax = 40;
const shownPerGroup = 12;
/** Of thousands of machines, as many as somebody would read. */
const machinesMax = 12;
/** What can be done is listed when so few machines are left, or when one is named. */
const actionsFor = 3;

/** Everything that can be found: targets, actions, workspaces, jobs. */
export class Palette {
  query = $state('');
  #at = $state(0);

  #all: Entry[] = $derived([
    ...targets(),
    ...pageActions(),
    ...places(),
    ...machines(this.query),
    ...recentJobs(),
  ]);

  groups: { title: string; entries: Entry[] }[] = $derived.by(() => {
    const words = this.query.toLowerCase().split(/\s+/).filter(Boolean);
    const found = new Map<string, Entry[]>();
    for (const entry of this.#all) {
      const text =
        `${entry.label} ${entry.detail} ${entry.status ?? ''} ${entry.machine ?? ''}`.toLowerCase();
      if (!words.every((word) => text.includes(word))) continue;
      const group = found.get(entry.group) ?? [];
      if (group.length < shownPerGroup || words.length > 0) group.push(entry);
      found.set(entry.group, group);
    }
    return [...found].map(([title, entries]) => ({ title, entries }));
  });

  #possible: Entry[] = $derived(
    this.groups.flatMap(({ entries }) => entries).filter(({ disabled }) => !disabled),
  );

  /** The entry that Enter takes. */
  selected: Entry | undefined = $derived(this.#possible[Math.min(this.#at, this.#possible.length - 1)]);

  constructor() {
    vms.use();
  }

  type(query: string): void {
    this.query = query;
    this.#at = 0;
  }

  /** Up and down; wraps around. */
  move(by: 1 | -1): void {
    const count = this.#possible.length;
    if (count > 0) this.#at = (Math.min(this.#at, count - 1) + by + count) % count;
  }

  point(entry: Entry): void {
    const at = this.#possible.indexOf(entry);
    if (at >= 0) this.#at = at;
  }

  /** Closes first: what the action opens or focuses must not be taken away again by the closing dialog. */
  take(entry: Entry | undefined): void {
    if (!entry || entry.disabled) return;
    layout.dialog = null;
    requestAnimationFrame(entry.act);
  }
}

function targets(): Entry[] {
  const group = `Targets of ${workspaces.selected?.name ?? ''}`;
  return (workspaces.targets?.targets ?? []).map(({ name, description }) => ({
    id: `target-${name}`,
    group,
    label: `make ${name}`,
    detail: description,
    mono: true,
    disabled: !run.canRun,
    act: () => void run.runTarget(name),
  }));
}

function pageActions(): Entry[] {
  return shortcuts.actions
    .filter(({ id, enabled }) => id !== 'palette' && (enabled?.() ?? true))
    .map((action) => ({
      id: `action-${action.id}`,
      group: 'Actions',
      label: action.label,
      detail: '',
      mono: false,
      keys: keyWords(action.keys),
      act: action.run,
    }));
}

function places(): Entry[] {
  if (workspaces.list.length < 2) return [];
  return workspaces.list.map(({ id, name, directory }) => ({
    id: `workspace-${id}`,
    group: 'Workspaces',
    label: name,
    detail: directory,
    mono: false,
    act: () => void goto(view.jobsHref).then(() => workspaces.select(id)),
  }));
}

/** Machines by name; of the few that are left after some words, also what can be done with them. */
function machines(query: string): Entry[] {
  void vms.members;
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const matches: VmSummary[] = [];
  for (const vm of vms.values()) {
    const name = vm.name.toLowerCase();
    // “stop web-1” finds web-1 by one of its words.
    if (words.length === 0 || words.some((word) => name.includes(word))) matches.push(vm);
    if (matches.length === machinesMax) break;
  }
  const found: Entry[] = [];
  for (const vm of matches) {
    const to = `/vms/${vm.id}`;
    found.push({
      id: `vm-${vm.id}`,
      group: 'Machines',
      label: vm.name,
      detail: '',
      mono: true,
      machine: vm.status,
      act: () => void goto(to),
    });
    const isMeant = words.includes(vm.name.toLowerCase()) || matches.length <= actionsFor;
    if (words.length === 0 || !isMeant) continue;
    for (const action of allowedActions[vm.status]) {
      found.push({
        id: `vm-${vm.id}-${action}`,
        group: 'Machines',
        label: `${actionWords[action]} ${vm.name}`,
        detail: '',
        mono: false,
        act: () => void (asksFirst(action) ? goto(`${to}?ask=${action}`) : vms.act([vm.id], action)),
      });
    }
  }
  return found;
}

function recentJobs(): Entry[] {
  return [...new Set([...view.tabs, ...jobHistory.rows])].slice(0, jobsMax).flatMap((id) => {
    const job = jobs.get(id);
    if (!job) return [];
    return [
      {
        id: `job-${id}`,
        group: 'Jobs',
        label: job.command,
        detail: '',
        mono: true,
        status: job.status,
        act: () => view.open(id),
      },
    ];
  });
}
