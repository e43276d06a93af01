import { goto } from '$app/navigation';
import { page } from '$app/state';
import { openMachine } from './open-machine.svelte.ts';
import { layout } from './layout.svelte.ts';
import type { Action } from './shortcuts.svelte.ts';
import { vmPage } from './vm-page.svelte.ts';

const onTable = (): boolean => page.url.pathname === '/vms';
const can = (action: 'start' | 'stop' | 'pause' | 'resume'): boolean =>
  openMachine.current?.vm?.allowed.includes(action) ?? false;

/** The actions of the pages of machines, and their keys. */
export const vmActions: Action[] = [
  {
    id: 'filter-vms',
    label: 'Filter the machines',
    group: 'VMs',
    keys: '/',
    run: () => layout.focus('vms', layout.pane),
    enabled: onTable,
  },
  {
    id: 'new-vm',
    label: 'New machine',
    group: 'VMs',
    keys: 'N',
    run: () => {
      vmPage.creating = true;
      if (!onTable()) void goto('/vms');
    },
  },
  {
    id: 'start-vm',
    label: 'Start the machine shown',
    group: 'VMs',
    keys: 's',
    run: () => void openMachine.current?.act('start'),
    enabled: () => can('start'),
  },
  {
    id: 'stop-vm',
    label: 'Stop the machine shown',
    group: 'VMs',
    keys: 'S',
    run: () => void openMachine.current?.act('stop'),
    enabled: () => can('stop'),
  },
  {
    id: 'pause-vm',
    label: 'Pause the machine shown, or go on',
    group: 'VMs',
    keys: 'p',
    run: () => void openMachine.current?.act(can('resume') ? 'resume' : 'pause'),
    enabled: () => can('pause') || can('resume'),
  },
  {
    id: 'next-vm-tab',
    label: 'Next tab of the machine',
    group: 'VMs',
    keys: ']',
    run: () => vmPage.step(1),
    enabled: () => openMachine.current !== null,
  },
  {
    id: 'previous-vm-tab',
    label: 'Previous tab of the machine',
    group: 'VMs',
    keys: '[',
    run: () => vmPage.step(-1),
    enabled: () => openMachine.current !== null,
  },
];
