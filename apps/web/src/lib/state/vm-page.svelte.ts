import { goto } from '$app/navigation';
import { page } from '$app/state';

export const vmTabs = [
  { id: 'overview', label: 'Overview' },
  { id: 'console', label: 'Console' },
  { id: 'screen', label: 'Screen' },
  { id: 'disks', label: 'Disks' },
  { id: 'snapshots', label: 'Snapshots' },
  { id: 'settings', label: 'Settings' },
  { id: 'history', label: 'History' },
] as const;
export type VmTab = (typeof vmTabs)[number]['id'];

/** What the pages of machines show beside the machines themselves. */
class VmPage {
  /** The dialog for a new machine is open. */
  creating = $state(false);

  get tab(): VmTab {
    const named = page.url.searchParams.get('tab');
    return vmTabs.find(({ id }) => id === named)?.id ?? 'overview';
  }

  href(tab: VmTab): string {
    return tab === 'overview' ? page.url.pathname : `${page.url.pathname}?tab=${tab}`;
  }

  /** The neighbour of the tab shown; wraps around. */
  step(by: 1 | -1): void {
    const at = vmTabs.findIndex(({ id }) => id === this.tab);
    const next = vmTabs[(at + by + vmTabs.length) % vmTabs.length];
    if (next) void goto(this.href(next.id), { reset: false });
  }
}

export const vmPage = new VmPage();
