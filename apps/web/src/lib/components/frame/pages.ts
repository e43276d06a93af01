import { Bot, Boxes, HardDrive, Monitor, Network, SquareTerminal } from '@lucide/svelte';

/** Where each page is; `jobs` is at the root, with what is looked at there. */
export const pages = [
  { path: '/', label: 'Jobs', action: 'go-jobs', icon: SquareTerminal },
  { path: '/vms', label: 'VMs', action: 'go-vms', icon: Monitor },
  { path: '/requests', label: 'Requests', action: 'go-requests', icon: Boxes },
  { path: '/images', label: 'Images', action: 'go-images', icon: HardDrive },
  { path: '/agents', label: 'Agents', action: 'go-agents', icon: Bot },
  { path: '/hosts', label: 'Hosts', action: 'go-hosts', icon: Network },
] as const;

export const isOn = (path: string, pathname: string): boolean =>
  pathname === path || (path !== '/' && pathname.startsWith(`${path}/`));
