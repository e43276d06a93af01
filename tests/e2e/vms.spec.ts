import type { Vm } from '@vmo/contract';
import { until, type TestServer } from '@vmo/testkit';
import type { Page } from '@playwright/test';
import { expectAccessible } from './accessible.ts';
import { anotherBrowser, expect, screenOf, test } from './story.ts';

// Guests are booted, mostly without KVM.
test.setTimeout(120_000);
/** A guest that is emulated on a busy machine takes its time. */
const guestMs = 60_000;

const tab = (page: Page, name: string) =>
  page.getByRole('navigation', { name: /^About/ }).getByRole('link', { name: new RegExp(`^${name}`) });
const grid = (page: Page) => page.getByRole('grid', { name: 'Machines' });
const power = (page: Page) => page.getByRole('toolbar', { name: /^Power of/ });
const isTyping = (page: Page) => page.getByText('What you type goes to the serial console.');
const takeOver = (page: Page) => page.getByRole('button', { name: 'take over' });

/** Types into the console, and takes it over where that is needed. */
async function typeInto(page: Page, text: string): Promise<void> {
  await expect(takeOver(page).or(isTyping(page))).toBeVisible();
  if (await takeOver(page).isVisible()) await takeOver(page).click();
  await expect(isTyping(page)).toBeVisible();
  await page.locator('.xterm-helper-textarea').focus();
  await page.keyboard.type(text);
}

async function listed(server: TestServer) {
  return (await server.client.call('listVms', { query: { limit: 1000 } })).vms;
}

/** Nothing of it is left, whatever state it is in. */
async function removeAll(server: TestServer): Promise<void> {
  const live = (await listed(server)).filter(({ status }) => status !== 'stopped' && status !== 'crashed');
  if (live.length > 0)
    await server.client.call('actOnVms', { body: { vmIds: live.map(({ id }) => id), action: 'force-stop' } });
  await until(
    'the end of every machine',
    async () => (await listed(server)).every(({ status }) => status === 'stopped' || status === 'crashed'),
    { timeoutMs: 30_000, everyMs: 200 },
  );
  for (const { id } of await listed(server))
    await server.client.call('deleteVm', { params: { vmId: id }, query: { disks: 'true' } });
  await until('no machine', async () => (await listed(server)).length === 0, {
    timeoutMs: 30_000,
    everyMs: 200,
  });
}

/** The small guest, as the button makes it, and stopped. */
async function smallGuest(server: TestServer): Promise<Vm> {
  const { vm } = await server.client.call('tryVm');
  await until(
    'a running guest',
    async () => (await server.client.call('getVm', { params: { vmId: vm.id } })).vm.status === 'running',
    { timeoutMs: guestMs, everyMs: 200 },
  );
  return vm;
}

test.afterEach(async ({ server }) => removeAll(server));

test('a machine is tried, typed into, given a disk, kept as a snapshot, stopped and deleted', async ({
  cockpit,
  server,
}) => {
  await cockpit.getByRole('link', { name: 'VMs', exact: true }).click();
  await expect(cockpit.getByText('No machines yet')).toBeVisible();
  await cockpit.getByRole('button', { name: 'Try a VM' }).click();
  await expect(cockpit).toHaveURL(/\/vms\/[0-9a-f-]+\?tab=console$/, { timeout: guestMs });
  const name = (await listed(server))[0]?.name ?? '';
  await expect(cockpit.getByRole('heading', { level: 1, name })).toBeVisible();
  await expect(screenOf(cockpit)).toContainText('vmo:~#', { timeout: guestMs });
  await typeInto(cockpit, 'echo sum-$((40+2))\n');
  await expect(screenOf(cockpit)).toContainText('sum-42');

  await tab(cockpit, 'Disks').click();
  await expect(cockpit.getByText('No disk', { exact: true })).toBeVisible();
  await cockpit.getByRole('button', { name: 'Attach a disk' }).click();
  await cockpit.getByRole('dialog').getByRole('button', { name: 'Attach', exact: true }).click();
  const disk = cockpit.getByRole('listitem').filter({ hasText: `${name}-data-1` });
  await expect(disk.getByRole('button', { name: /^Detach/ })).toBeEnabled({ timeout: guestMs });
  await tab(cockpit, 'Console').click();
  await expect(screenOf(cockpit)).toContainText('sum-42');
  await typeInto(cockpit, 'echo disks: $(ls /sys/block)\n');
  await expect(screenOf(cockpit)).toContainText(/disks: .*vda/);

  await tab(cockpit, 'Snapshots').click();
  await cockpit.getByRole('button', { name: 'Take a snapshot' }).click();
  await cockpit.getByRole('dialog').getByRole('button', { name: 'Take the snapshot' }).click();
  await expect(cockpit.getByRole('heading', { name: /^snapshot-1/ })).toBeVisible();
  await expect(cockpit.getByRole('button', { name: 'Go back to snapshot-1' })).toBeEnabled({
    timeout: guestMs,
  });

  await cockpit.getByRole('button', { name: 'Stop', exact: true }).click();
  await expect(cockpit.getByRole('button', { name: 'Start', exact: true })).toBeVisible({ timeout: guestMs });
  await tab(cockpit, 'Console').click();
  await expect(cockpit.getByText('this is the console of its last run')).toBeVisible();
  await expect(screenOf(cockpit)).toContainText('sum-42');
  await tab(cockpit, 'History').click();
  await expect(cockpit.getByRole('region', { name: 'What was done' })).toContainText('stop');
  await expect(cockpit.getByRole('region', { name: 'Runs' }).getByRole('link')).toHaveCount(1);

  await cockpit.getByRole('button', { name: `Delete ${name}` }).click();
  const remove = cockpit.getByRole('dialog').getByRole('button', { name: 'Delete for good' });
  await expect(remove).toBeDisabled();
  await cockpit.getByRole('textbox', { name: /^Type/ }).fill(name);
  await remove.click();
  await expect(cockpit.getByText(`“${name}” is deleted`)).toBeVisible({ timeout: guestMs });
});

test('a second browser watches a console and takes it over', async ({ cockpit, browser, server }) => {
  const vm = await smallGuest(server);
  const other = await anotherBrowser(browser, server);
  for (const page of [cockpit, other]) await page.goto(`${server.url}/vms/${vm.id}?tab=console`);
  for (const page of [cockpit, other])
    await expect(screenOf(page)).toContainText('vmo:~#', { timeout: guestMs });
  await typeInto(cockpit, 'echo first-$((0+1))\n');
  await typeInto(other, 'echo second-$((1+1))\n');
  await expect(cockpit.getByText('somebody else types')).toBeVisible();
  for (const page of [cockpit, other]) {
    await expect(screenOf(page)).toContainText('first-1');
    await expect(screenOf(page)).toContainText('second-2');
  }
});

test('of many machines, those meant are found, chosen and opened with the keyboard', async ({
  cockpit,
  server,
}) => {
  const made = async (name: string): Promise<void> => {
    await server.client.call('createVm', {
      body: { name, boot: { from: 'kernel', kernel: 'small-guest.kernel' }, start: false },
    });
  };
  // Its kernel is the one that the others would boot.
  await smallGuest(server);
  for (let number = 1; number <= 120; number++) await made(`web-${String(number)}`);
  await cockpit.getByRole('link', { name: 'VMs', exact: true }).click();
  await expect(cockpit.getByText('121 machines')).toBeVisible();
  // Only those in sight are drawn.
  expect(await grid(cockpit).getByRole('row').count()).toBeLessThan(80);

  await cockpit.keyboard.press('/');
  await cockpit.keyboard.type('web-11');
  await expect(cockpit.getByText('11 of 121')).toBeVisible();
  await cockpit.keyboard.press('Escape');
  await cockpit.keyboard.type('web 2');
  await cockpit.keyboard.press('Enter');
  await expect(grid(cockpit)).toBeFocused();
  await cockpit.keyboard.press('Space');
  await cockpit.keyboard.press('Shift+ArrowDown');
  const bar = cockpit.getByRole('toolbar', { name: 'With the selected machines' });
  await expect(bar).toContainText('2 selected');
  await expect(bar.getByRole('button', { name: /^Start/ })).toBeEnabled();
  await expect(bar.getByRole('button', { name: /^Force stop/ })).toBeDisabled();
  await bar.getByRole('button', { name: 'Delete' }).click();
  const dialog = cockpit.getByRole('dialog');
  await expect(dialog).toContainText('web-2');
  await dialog.getByRole('textbox').fill('delete 2');
  await dialog.getByRole('button', { name: 'Delete for good' }).click();
  await expect(cockpit.getByText('of 119')).toBeVisible({ timeout: guestMs });
  await expect(bar).toBeHidden();
  await grid(cockpit).focus();
  await cockpit.keyboard.press('Home');
  await cockpit.keyboard.press('Enter');
  await expect(cockpit).toHaveURL(/\/vms\/[0-9a-f-]+$/);
  await cockpit.goBack();
  await expect(cockpit.getByRole('searchbox', { name: /^Filter the machines/ })).toHaveValue('web 2');
});

test('the pages of machines are accessible and fit a phone', async ({ browser, server }) => {
  test.slow();
  const wide = await anotherBrowser(browser, server);
  await wide.goto(`${server.url}/vms`);
  await expect(wide.getByText('No machines yet')).toBeVisible();
  await expectAccessible(wide, 'no machines');
  await wide.keyboard.press('N');
  await expect(wide.getByText('The same as an API call')).toBeVisible();
  await expect(wide.getByRole('textbox', { name: 'Name', exact: true })).toBeFocused();
  await expectAccessible(wide, 'new machine');
  await wide.keyboard.press('Escape');
  const { id } = await smallGuest(server);
  await expect(grid(wide)).toContainText('running');
  await expect(grid(wide).getByRole('img', { name: /^Screen of tiny/ })).toBeVisible();
  await wide.getByText(/memory free$/).click();
  await expect(wide.getByRole('region', { name: 'Charts of the host' })).toContainText('Storage');
  await wide.getByRole('checkbox', { name: /^Select tiny/ }).click();
  await expectAccessible(wide, 'the table, with one selected');

  const narrow = await anotherBrowser(browser, server, {
    viewport: { width: 360, height: 740 },
  });
  await narrow.goto(`${server.url}/vms`);
  await expect(grid(narrow)).toContainText('running');
  const fits = async (what: string): Promise<void> => {
    const width = await narrow.evaluate(() => document.documentElement.scrollWidth);
    expect(width, `${what} scrolls sideways`).toBeLessThanOrEqual(360);
  };
  await fits('the table');
  for (const page of [wide, narrow]) await page.goto(`${server.url}/vms/${id}`);
  await expect(power(narrow)).toBeVisible();
  for (const name of ['Overview', 'Console', 'Screen', 'Disks', 'Snapshots', 'Settings', 'History']) {
    for (const page of [wide, narrow]) {
      await tab(page, name).click();
      await expect(tab(page, name)).toHaveAttribute('aria-current', 'page');
    }
    await fits(name);
    await expectAccessible(wide, name);
  }
  await wide.getByRole('button', { name: 'Force stop' }).click();
  await expectAccessible(wide, 'what a forced stop may lose');
  await wide.getByRole('button', { name: /^Force stop “/ }).click();
  await expect(wide.getByRole('button', { name: 'Start', exact: true })).toBeVisible({ timeout: guestMs });
});
