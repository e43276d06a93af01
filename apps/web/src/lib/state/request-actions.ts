import { goto } from '$app/navigation';
import { page } from '$app/state';
import { layout } from './layout.svelte.ts';
import { requestsPage } from './open-request.svelte.ts';
import type { Action } from './shortcuts.svelte.ts';

const onList = (): boolean => page.url.pathname === '/requests';

/** The actions of the pages of requests, and their keys. */
export const requestActions: Action[] = [
  {
    id: 'filter-requests',
    label: 'Search the requests',
    group: 'Requests',
    keys: '/',
    run: () => layout.focus('requests', layout.pane),
    enabled: onList,
  },
  {
    id: 'new-request',
    label: 'New request',
    group: 'Requests',
    keys: 'B',
    run: () => {
      requestsPage.creating = true;
      if (!onList()) void goto('/requests');
    },
  },
  {
    id: 'request-statistics',
    label: 'Statistics of the requests',
    group: 'Requests',
    keys: 'S',
    run: () => void goto('/requests/statistics'),
    enabled: onList,
  },
  {
    id: 'cancel-request',
    label: 'Cancel the request shown',
    group: 'Requests',
    keys: 'C',
    run: () => void requestsPage.current?.cancel(),
    enabled: () => requestsPage.current?.can('cancelled') ?? false,
  },
  {
    id: 'hold-request',
    label: 'Hold the request shown, or release it',
    group: 'Requests',
    keys: 'o',
    run: () => void requestsPage.current?.holdOrRelease(),
    enabled: () =>
      requestsPage.current?.can('hold') === true || requestsPage.current?.can('pending') === true,
  },
  {
    id: 'rerun-request',
    label: 'Run the request shown again',
    group: 'Requests',
    keys: 'A',
    run: () => void requestsPage.current?.rerun(),
    enabled: () => requestsPage.current !== null,
  },
  {
    id: 'open-request',
    label: 'Open the machine that the request shown left',
    group: 'Requests',
    keys: 'O',
    run: () => void requestsPage.current?.openMachine(),
    enabled: () => requestsPage.current?.canOpen ?? false,
  },
];
