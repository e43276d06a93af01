export { createWorkspaces, type Workspaces } from './service.ts';
export type { HostShell } from './host-shell.ts';
