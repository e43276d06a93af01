import type { Job } from '@vmo/contract';
import { hosts } from './hosts.svelte.ts';
import { workspaces } from './workspaces.svelte.ts';

/** Where a job runs, in few words: its workspace, its host, else its directory. */
export function placeOf(job: Job): string {
  const workspace = workspaces.byId(job.workspaceId)?.name;
  const host = hosts.byId(job.hostId)?.name ?? (job.hostId ? 'removed host' : undefined);
  if (workspace && host) return `${workspace} · ${host}`;
  return workspace ?? host ?? job.cwd ?? '';
}
