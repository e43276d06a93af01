import { z } from 'zod';

/** Ids are UUID version 7: they sort by creation time, so "newest first" and paging need no second column. */
export const JobId = z.uuid().brand<'JobId'>();
export type JobId = z.infer<typeof JobId>;

export const WorkspaceId = z.uuid().brand<'WorkspaceId'>();
export type WorkspaceId = z.infer<typeof WorkspaceId>;

export const HostId = z.uuid().brand<'HostId'>();
export type HostId = z.infer<typeof HostId>;
