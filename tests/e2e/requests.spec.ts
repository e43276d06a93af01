import { isFinal, VmId, type NewRequest, type RequestId, type SimulationRequest } from '@vmo/contract';
import { until, type TestServer } from '@vmo/testkit';
import type { Page } from '@playwright/test';
import { expectAccessible } from './accessible.ts';
import { anotherBrowser, expect, outputRow, rowWith, test } from './story.ts';

// Guests are booted, mostly without KVM.
test.setTimeout(120_000);
/** A guest that is emulated on a busy machine takes its time. */
const guestMs = 60_000;

const header = (page: Page) => page.locator('main header');
const status = (page: Page) => header(page).getByRole('status');
const commands = (page: Page) => page.getByRole('region', { name: 'Commands' }).getByRole('listitem');
const cell = (page: Page, vm: string, command: string) =>
  page.getByRole('link', { name: new RegExp(`^${vm}, ${command}: `) });

async function submitRequest(server: TestServer, body: NewRequest): Promise<RequestId> {
  return (await server.client.call('submitRequest', { body })).uuid;
}

async function read(server: TestServer, requestId: RequestId): Promise<SimulationRequest> {
  return server.client.call('getRequest', { params: { requestId } });
}

/** A stopped machine with a disk and the kernel of the small guest, which has been built before. */
async function secondMachine(server: TestServer): Promise<VmId> {
  const boot = {
    from: 'kernel',
    kernel: 'small-guest.kernel',
    initrd: 'small-guest.initrd',
    append: 'console=ttyS0',
  } as const;
  const { vm } = await server.client.call('createVm', {
    body: { name: 'second', boot, memoryMib: 256, diskSizeBytes: 16 * 1024 * 1024, start: false },
  });
  await until(
    'the second machine',
    async () => (await server.client.call('getVm', { params: { vmId: vm.id } })).vm.status === 'stopped',
    { timeoutMs: 30_000, everyMs: 100 },
  );
  return vm.id;
}

test('a request is submitted on the page; both streams, exit codes and places in the log are shown', async ({
  cockpit,
  server,
}) => {
  await cockpit.getByRole('link', { name: 'Requests', exact: true }).click();
  await expect(cockpit.getByText('No requests yet')).toBeVisible();
  await cockpit.keyboard.press('B');
  const dialog = cockpit.getByRole('dialog', { name: 'New request' });
  await dialog.getByRole('checkbox', { name: 'small-guest' }).check();
  await dialog
    .getByLabel('Commands', { exact: true })
    .fill('echo to-out-$((40+2))\necho "$WORD" >&2; exit 3\necho never');
  await dialog.getByLabel('Environment').fill('WORD=to-err');
  await expect(dialog.getByRole('group', { name: 'the shell command' })).toContainText(
    "vmo submit small-guest -e WORD=to-err -c 'echo to-out-$((40+2))'",
  );
  await dialog.getByText('More', { exact: true }).click();
  await dialog.getByLabel('Password').fill('let me in');
  await expect(dialog.getByText('whose password this is')).toBeVisible();
  await expect(dialog.getByRole('button', { name: 'Submit the request' })).toBeDisabled();
  await dialog.getByLabel('Log in as').fill('root');
  await dialog.getByRole('combobox', { name: 'Channel' }).selectOption('serial');
  await expect(dialog.getByRole('group', { name: 'the shell command' })).toContainText(
    "VMO_LOGIN_PASSWORD='let me in' vmo submit small-guest -e WORD=to-err --channel serial --login root",
  );
  await dialog.getByRole('button', { name: 'Submit the request' }).click();
  await expect(cockpit).toHaveURL(/\/requests\/[0-9a-f-]{36}/);
  await expect(status(cockpit)).toHaveText('failed', { timeout: guestMs });

  const about = cockpit.getByRole('region', { name: 'About it' });
  await expect(about.getByText('serial', { exact: true })).toBeVisible();
  await expect(outputRow(cockpit, /^to-out-42$/)).toHaveClass(/stdout/);
  await expect(outputRow(cockpit, /^to-err$/)).toHaveClass(/stderr/);
  await expect(commands(cockpit)).toHaveCount(3);
  await expect(commands(cockpit).nth(0)).toContainText('done: exit 0');
  await expect(commands(cockpit).nth(1)).toContainText('failed: exit 3');
  await expect(commands(cockpit).nth(2)).toContainText('skipped');
  const timeline = cockpit.getByRole('region', { name: 'Timeline' }).getByRole('listitem');
  for (const stage of ['queued', 'booting', 'ready', 'running'])
    await expect(timeline.filter({ hasText: stage })).toHaveText(/\d m?s$|min/);

  await cockpit.getByRole('button', { name: 'show in the log: command 2' }).click();
  await expect(cockpit).toHaveURL(/line=\d+/);
  await expect(rowWith(cockpit, /^\$ echo "\$WORD"/)).toHaveClass(/target/);

  await cockpit.getByRole('link', { name: 'All requests' }).click();
  const row = cockpit.getByRole('row', { name: /small-guest/ });
  await expect(row).toContainText('failed');
  await expect(row).toContainText('2 of 3');
  await cockpit.keyboard.press('/');
  await cockpit.keyboard.type('no such words');
  await expect(cockpit.getByText('No request fits these filters')).toBeVisible();
  await cockpit.keyboard.press('Escape');
  await expect(row).toBeVisible();
  const id = /[0-9a-f-]{36}/.exec((await row.getByRole('link').getAttribute('href')) ?? '')?.[0];
  await cockpit.goto(`${server.url}/?job=${id ?? ''}`);
  await expect(cockpit.getByRole('link', { name: 'Its request' })).toHaveAttribute(
    'href',
    `/requests/${id ?? ''}`,
  );
});

test('a request is held, released and cancelled; what it wrote is kept', async ({ cockpit, server }) => {
  const id = await submitRequest(server, {
    vm_name: 'small-guest',
    commands: 'echo began; sleep 600',
    hold: true,
  });
  await cockpit.goto(`${server.url}/requests/${id}`);
  await expect(status(cockpit)).toHaveText('on hold');
  await cockpit.getByRole('button', { name: 'Release' }).click();
  await expect(outputRow(cockpit, /^began$/)).toBeVisible({ timeout: guestMs });
  await expect(commands(cockpit)).toContainText('running');
  await header(cockpit).getByRole('button', { name: 'Cancel', exact: true }).click();
  await expect(status(cockpit)).toHaveText('cancelled', { timeout: 30_000 });
  await expect(outputRow(cockpit, /^began$/)).toBeVisible();
  await expect(header(cockpit).getByRole('button', { name: 'Run again' })).toBeEnabled();
  expect(isFinal((await read(server, id)).status)).toBe(true);
});

test('two machines and two commands are a matrix that fills itself; its pages are accessible', async ({
  browser,
  server,
}) => {
  test.slow();
  const page = await anotherBrowser(browser, server);
  // Builds the small guest where no story before this one did.
  await submitRequest(server, { vm_name: 'small-guest', commands: 'true', hold: true });
  const vmId = await secondMachine(server);
  await page.goto(`${server.url}/requests`);
  await expect(page.getByRole('button', { name: /^New request/ })).toBeVisible();
  await page.keyboard.press('B');
  const dialog = page.getByRole('dialog', { name: 'New request' });
  for (const name of ['small-guest', 'second']) await dialog.getByRole('checkbox', { name }).check();
  await dialog.getByLabel('Commands', { exact: true }).fill('echo fine\nexit 7');
  await dialog
    .getByLabel('How the commands are read')
    .selectOption({ label: 'each line a request of its own' });
  await dialog.getByLabel('Keep the disk of the machine for a time when it fails').check();
  await expectAccessible(page, 'new request');
  await dialog.getByRole('button', { name: 'Submit 4 requests' }).click();
  await expect(page).toHaveURL(/batch=/);
  for (const vm of ['small-guest', 'second']) {
    await expect(cell(page, vm, 'echo fine')).toHaveText('done', { timeout: 2 * guestMs });
    await expect(cell(page, vm, 'exit 7')).toHaveText('failed', { timeout: 2 * guestMs });
  }
  await expect(page.getByRole('cell').filter({ hasText: 'exit 7' })).toHaveCount(2);
  await expectAccessible(page, 'matrix');
  const batchUrl = page.url();

  const left = page.getByRole('region', { name: 'Its machine' });
  await cell(page, 'small-guest', 'exit 7').click();
  await expect(left).toHaveText(/There is nothing to open: its machine had no disk/);
  await page.goBack();
  await cell(page, 'second', 'exit 7').click();
  await expect(left).toContainText('Its disk is kept until');
  const requestUrl = page.url();
  await left.getByRole('button', { name: 'Open this VM' }).click();
  await expect(page).toHaveURL(/\/vms\/[0-9a-f-]{36}\?tab=console/);
  await expect(page.getByText('vmo-guest ready')).toBeVisible({ timeout: guestMs });
  const openedId = VmId.parse(/\/vms\/([0-9a-f-]{36})/.exec(page.url())?.[1]);
  await page.goto(requestUrl);
  await expect(left.getByRole('link', { name: 'a machine of its own' })).toHaveAttribute(
    'href',
    `/vms/${openedId}`,
  );
  await server.client.call('actOnVm', { params: { vmId: openedId }, body: { action: 'force-stop' } });
  await until('the opened machine is stopped', async () => {
    const { vm } = await server.client.call('getVm', { params: { vmId: openedId } });
    return vm.status === 'stopped';
  });
  await server.client.call('deleteVm', { params: { vmId: openedId }, query: { disks: 'true' } });
  await page.goto(batchUrl);
  await page.getByRole('link', { name: 'list', exact: true }).click();
  await expect(page.getByRole('grid').getByRole('row', { name: /second/ })).toHaveCount(2);
  await expectAccessible(page, 'list');
  await page.getByRole('grid').focus();
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(/\/requests\/[0-9a-f-]{36}/);
  await expect(page.getByRole('region', { name: 'Timeline' })).toBeVisible();
  await expectAccessible(page, 'request');
  await page.goto(`${server.url}/requests/statistics`);
  await expect(page.getByText('went well')).toBeVisible();
  await expectAccessible(page, 'statistics');
  await page.goto(`${server.url}/agents`);
  await expect(page.getByRole('article')).toContainText('online');
  await expectAccessible(page, 'agents');

  await page.setViewportSize({ width: 360, height: 740 });
  for (const path of ['/requests', '/requests/statistics', '/agents']) {
    await page.goto(server.url + path);
    await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    expect(width, `${path} scrolls sideways`).toBeLessThanOrEqual(360);
  }
  await server.client.call('deleteVm', { params: { vmId }, query: { disks: 'true' } });
});

test('an agent is added with a token that is shown once, drained and removed', async ({
  cockpit,
  server,
}) => {
  await cockpit.getByRole('link', { name: 'Agents', exact: true }).click();
  await cockpit.getByRole('button', { name: 'Add an agent' }).click();
  const dialog = cockpit.getByRole('dialog');
  await dialog.getByLabel('Name').fill('builder-1');
  await dialog.getByRole('button', { name: 'Make its token' }).click();
  const token = await dialog.getByRole('group', { name: 'the token' }).textContent();
  expect(token).toMatch(/^vmo-agent-/);
  await expect(dialog.getByRole('group', { name: 'the command' })).toContainText(
    `VMO_AGENT_TOKEN=${token ?? ''}`,
  );
  await dialog.getByRole('button', { name: 'I have it' }).click();
  const one = cockpit.getByRole('article', { name: 'builder-1' });
  await expect(one).toContainText('new');
  await expect(cockpit.getByText(token ?? '')).toHaveCount(0);
  await one.getByRole('button', { name: 'Revoke' }).click();
  await cockpit.getByRole('dialog').getByRole('button', { name: 'Revoke its token' }).click();
  await expect(one).toContainText('revoked');
  await one.getByRole('button', { name: 'Remove' }).click();
  await cockpit.getByRole('dialog').getByRole('button', { name: 'Remove the agent' }).click();
  await expect(one).toHaveCount(0);

  const { agents } = await server.client.call('listAgents');
  const [local] = agents;
  const own = cockpit.getByRole('article', { name: local?.name ?? '' });
  await own.getByRole('button', { name: 'Drain' }).click();
  await expect(own).toContainText('draining');
  await own.getByRole('button', { name: 'Resume' }).click();
  await expect(own).toContainText('online');
});
