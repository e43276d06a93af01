import { z } from 'zod';

/** Ids are UUID version 7: they sort by creation time, so "newest first" and paging need no second column. */
export const JobId = z.uuid().brand<'JobId'>();
export type JobId = z.infer<typeof JobId>;

/**
 * A request is a job: its uuid is the job's id.
 * @alias
 */
export const RequestId = JobId;
export type RequestId = JobId;

export const BatchId = z.uuid().brand<'BatchId'>();
export type BatchId = z.infer<typeof BatchId>;

export const WorkspaceId = z.uuid().brand<'WorkspaceId'>();
export type WorkspaceId = z.infer<typeof WorkspaceId>;

export const HostId = z.uuid().brand<'HostId'>();
export type HostId = z.infer<typeof HostId>;

export const VmId = z.uuid().brand<'VmId'>();
export type VmId = z.infer<typeof VmId>;

export const DiskId = z.uuid().brand<'DiskId'>();
export type DiskId = z.infer<typeof DiskId>;

export const SnapshotId = z.uuid().brand<'SnapshotId'>();
export type SnapshotId = z.infer<typeof SnapshotId>;

export const TemplateId = z.uuid().brand<'TemplateId'>();
export type TemplateId = z.infer<typeof TemplateId>;

export const OperationId = z.uuid().brand<'OperationId'>();
export type OperationId = z.infer<typeof OperationId>;

export const AgentId = z.uuid().brand<'AgentId'>();
export type AgentId = z.infer<typeof AgentId>;
