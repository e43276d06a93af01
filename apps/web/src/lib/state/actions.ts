import { goto } from '$app/navigation';
import { page } from '$app/state';
import { isFinal, type Job } from '@vmo/contract';
import { agentsPage } from './agents.svelte.ts';
import { jobHistory } from './history.svelte.ts';
import { jobs } from './jobs.svelte.ts';
import { layout } from './layout.svelte.ts';
import { preferences } from './preferences.svelte.ts';
import { requestActions } from './request-actions.ts';
import { run } from './run.svelte.ts';
import type { Action } from './shortcuts.svelte.ts';
import { vmActions } from './vm-actions.ts';
import { theme } from './theme.svelte.ts';
import { view } from './view.svelte.ts';
import { workspaces } from './workspaces.svelte.ts';

function shown(): Job | undefined {
  return view.job ? jobs.get(view.job) : undefined;
}

/** At once where it is possible: what is typed next belongs to the field already. */
function onJobs(then: () => void): void {
  if (page.url.pathname === '/') then();
  else void goto(view.jobsHref).then(then);
}

/** The actions of the page and their keys. */
export const actions: Action[] = [
  {
    id: 'palette',
    label: 'Find targets, jobs, pages, actions',
    group: 'Page',
    keys: 'mod+k',
    run: () => layout.toggle('palette'),
  },
  { id: 'help', label: 'Keys', group: 'Page', keys: '?', run: () => layout.toggle('help') },
  { id: 'settings', label: 'Settings', group: 'Page', keys: ',', run: () => layout.toggle('settings') },
  { id: 'theme', label: 'Change between dark and light', group: 'Page', keys: 'D', run: () => theme.flip() },
  { id: 'go-jobs', label: 'Go to jobs', group: 'Page', keys: 'J', run: () => void goto(view.jobsHref) },
  { id: 'go-vms', label: 'Go to the machines', group: 'Page', keys: 'V', run: () => void goto('/vms') },
  {
    id: 'go-requests',
    label: 'Go to the requests',
    group: 'Page',
    keys: 'Q',
    run: () => void goto('/requests'),
  },
  { id: 'go-images', label: 'Go to the images', group: 'Page', keys: 'I', run: () => void goto('/images') },
  { id: 'go-agents', label: 'Go to the agents', group: 'Page', keys: 'G', run: () => void goto('/agents') },
  { id: 'go-hosts', label: 'Go to hosts', group: 'Page', keys: 'H', run: () => void goto('/hosts') },
  {
    id: 'add-agent',
    label: 'Add an agent',
    group: 'Page',
    keys: 'E',
    run: () => {
      agentsPage.adding = true;
      if (page.url.pathname !== '/agents') void goto('/agents');
    },
  },
  // Before those of the jobs: a key of both belongs to the page that is shown.
  ...requestActions,
  ...vmActions,
  {
    id: 'filter',
    label: 'Filter targets',
    group: 'Run',
    keys: '/',
    run: () => onJobs(() => layout.focus('targets', 'run')),
  },
  {
    id: 'command',
    label: 'Type a command',
    group: 'Run',
    keys: 'c',
    run: () => onJobs(() => layout.focus('command', 'run')),
  },
  {
    id: 'terminal',
    label: 'Open a terminal',
    group: 'Run',
    keys: 'T',
    run: () => onJobs(() => void run.openTerminal()),
  },
  {
    id: 'dry-run',
    label: 'Dry run on or off',
    group: 'Run',
    keys: 'n',
    run: () => void (run.dryRun = !run.dryRun),
  },
  {
    id: 'parallel',
    label: 'Parallel runs on or off',
    group: 'Run',
    keys: 'P',
    run: () => void (preferences.parallelRuns = !preferences.parallelRuns),
  },
  {
    id: 'targets',
    label: 'Read the targets again',
    group: 'Run',
    keys: 'R',
    run: () => void workspaces.loadTargets(),
  },
  {
    id: 'history',
    label: 'Search the history',
    group: 'Jobs',
    keys: 'h',
    run: () => onJobs(() => layout.focus('history', 'history')),
  },
  {
    id: 'refresh',
    label: 'Refresh the history',
    group: 'Jobs',
    keys: 'r',
    run: () => void jobHistory.refresh(),
  },
  {
    id: 'next-tab',
    label: 'Next tab',
    group: 'Jobs',
    keys: ']',
    run: () => view.step(1),
    enabled: () => view.tabs.length > 1,
  },
  {
    id: 'previous-tab',
    label: 'Previous tab',
    group: 'Jobs',
    keys: '[',
    run: () => view.step(-1),
    enabled: () => view.tabs.length > 1,
  },
  {
    id: 'close-tab',
    label: 'Close the tab (the job goes on)',
    group: 'Jobs',
    keys: 'x',
    run: () => view.job && view.close(view.job),
    enabled: () => view.job !== undefined,
  },
  {
    id: 'cancel',
    label: 'Cancel the job shown',
    group: 'Jobs',
    keys: 'C',
    run: () => view.job && void jobs.cancel(view.job),
    enabled: () => {
      const job = shown();
      return job !== undefined && !isFinal(job.status);
    },
  },
  {
    id: 'rerun',
    label: 'Run the job shown again',
    group: 'Jobs',
    keys: 'A',
    run: () => {
      const job = shown();
      if (job) void run.rerun(job);
    },
    enabled: () => shown() !== undefined && shown()?.type !== 'vm',
  },
];
