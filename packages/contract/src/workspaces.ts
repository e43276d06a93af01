import { z } from 'zod';
import { HostId, WorkspaceId } from './ids.ts';
import { Directory, Name, Timestamp } from './text.ts';

export const Workspace = z.object({
  id: WorkspaceId,
  name: z.string(),
  directory: z.string().describe('Absolute path, here or on the host'),
  hostId: HostId.nullable().describe('null: this machine'),
  createdAt: Timestamp,
});
export type Workspace = z.infer<typeof Workspace>;

export const NewWorkspace = z.strictObject({
  name: Name,
  directory: Directory,
  hostId: HostId.nullable().optional(),
});
export type NewWorkspace = z.infer<typeof NewWorkspace>;

export const WorkspaceChange = z
  .strictObject({ name: Name.optional(), directory: Directory.optional() })
  .refine((change) => Object.keys(change).length > 0, 'must change something: name or directory');
export type WorkspaceChange = z.infer<typeof WorkspaceChange>;

/** One goal a person can ask make for, as make itself sees it. */
export const MakeTarget = z.object({
  name: z.string(),
  description: z.string().describe('`## text` after the target or the comment block above it; empty: none'),
  prerequisites: z.array(z.string()),
  phony: z.boolean(),
  file: z.string().nullable().describe('Where it is defined, as make names the file; null: unknown'),
  line: z.int().nullable(),
});
export type MakeTarget = z.infer<typeof MakeTarget>;

/** A variable that the Makefile marks as meant to be overridden, with `?=`. */
export const MakeVariable = z.object({ name: z.string(), value: z.string(), description: z.string() });
export type MakeVariable = z.infer<typeof MakeVariable>;

export const TargetList = z.object({
  targets: z.array(MakeTarget),
  variables: z.array(MakeVariable),
  defaultTarget: z.string().nullable().describe('What `make` without a goal builds'),
  makefile: z.string().nullable().describe('null: the directory has no Makefile'),
});
export type TargetList = z.infer<typeof TargetList>;
