import { goto } from '$app/navigation';
import type { JobStatus } from '@vmo/contract';
import { jobHistory } from './history.svelte.ts';
import { jobs } from './jobs.svelte.ts';
import { layout } from './layout.svelte.ts';
import { run } from './run.svelte.ts';
import { keyWords, shortcuts } from './shortcuts.svelte.ts';
import { view } from './view.svelte.ts';
import { workspaces } from './workspaces.svelte.ts';

export interface Entry {
  id: string;
  group: string;
  label: string;
  detail: string;
  mono: boolean;
  keys?: string;
  status?: JobStatus;
  disabled?: boolean;
  act: () => void;
}

const jobsMax = 40;
const shownPerGroup = 12;

/** Everything that can be found: targets, actions, workspaces, jobs. */
export class Palette {
  query = $state('');
  #at = $state(0);

  #all: Entry[] = $derived([...targets(), ...pageActions(), ...places(), ...recentJobs()]);

  groups: { title: string; entries: Entry[] }[] = $derived.by(() => {
    const words = this.query.toLowerCase().split(/\s+/).filter(Boolean);
    const found = new Map<string, Entry[]>();
    for (const entry of this.#all) {
      const text = `${entry.label} ${entry.detail} ${entry.status ?? ''}`.toLowerCase();
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
