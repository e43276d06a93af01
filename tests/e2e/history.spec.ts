import { finished, expect, history, outputRow, submit, test } from './story.ts';
import type { Page } from '@playwright/test';

const jobRows = (page: Page) =>
  history(page)
    .getByRole('row')
    .filter({ has: page.getByRole('cell') });
const rowOf = (page: Page, command: string | RegExp) => jobRows(page).filter({ hasText: command });

test('filters stand in the address and hold over a reload', async ({ cockpit, server }) => {
  const good = await submit(server, { command: 'echo filtered good' });
  const bad = await submit(server, { command: 'echo filtered bad; exit 9' });
  const terminal = await submit(server, { command: 'echo filtered terminal', type: 'terminal' });
  for (const job of [good, bad, terminal]) await finished(server, job);
  const { workspaces } = await server.client.call('listWorkspaces');
  const demo = workspaces.find(({ name }) => name === 'demo');
  if (!demo) throw new Error('there is no demo workspace');
  await finished(server, await submit(server, { command: 'echo filtered demo', workspaceId: demo.id }));

  const panel = history(cockpit);
  await panel.getByRole('searchbox').fill('filtered');
  await expect(jobRows(cockpit)).toHaveCount(4);
  await expect(cockpit).toHaveURL(/[?&]q=filtered/);
  await panel.getByLabel('Status').selectOption({ label: 'failed' });
  await expect(jobRows(cockpit)).toHaveCount(1);
  await expect(rowOf(cockpit, 'filtered bad')).toBeVisible();
  await expect(cockpit).toHaveURL(/status=failed/);
  await cockpit.reload();
  await expect(panel.getByLabel('Status')).toHaveValue('failed');
  await expect(panel.getByRole('searchbox')).toHaveValue('filtered');
  await expect(jobRows(cockpit)).toHaveCount(1);

  await panel.getByLabel('Status').selectOption({ label: 'any status' });
  await panel.getByLabel('Type').selectOption({ label: 'terminal' });
  await expect(jobRows(cockpit)).toHaveCount(1);
  await expect(rowOf(cockpit, 'filtered terminal')).toBeVisible();
  await expect(cockpit).toHaveURL(/type=terminal/);
  await panel.getByLabel('Type').selectOption({ label: 'any type' });
  await panel.getByLabel('Workspace').selectOption({ label: 'demo' });
  await expect(jobRows(cockpit)).toHaveCount(1);
  await expect(rowOf(cockpit, 'filtered demo')).toBeVisible();
  await cockpit.reload();
  await expect(panel.getByLabel('Workspace')).toHaveValue(demo.id);
  await expect(jobRows(cockpit)).toHaveCount(1);

  await panel.getByRole('searchbox').fill('no job is called this');
  await expect(panel.getByText('No job fits these filters')).toBeVisible();
  await panel.getByRole('button', { name: 'Show all jobs' }).click();
  await expect(rowOf(cockpit, 'filtered good')).toBeVisible();
  expect(new URL(cockpit.url()).search).toBe('');
});

test('run again runs the same as a new job and shows it', async ({ cockpit, server }) => {
  const job = await finished(server, await submit(server, { command: 'echo once more' }));
  await rowOf(cockpit, 'once more').getByRole('button', { name: /rerun/ }).click();
  await expect(outputRow(cockpit, /^once more$/)).toBeVisible();
  await expect(rowOf(cockpit, 'once more')).toHaveCount(2);
  await expect(cockpit).toHaveURL(/job=/);
  expect(cockpit.url()).not.toContain(job.id);
});

test('a row changes in place, and no other moves', async ({ cockpit, server }) => {
  const first = await submit(server, { command: 'until [ -e go ]; do sleep 0.05; done; rm go' });
  for (const name of ['above one', 'above two'])
    await finished(server, await submit(server, { command: `: ${name}` }));
  const row = rowOf(cockpit, 'until [ -e go ]');
  await expect(row).toContainText('running');
  await expect(rowOf(cockpit, 'above two')).toContainText('done');
  const places = () =>
    jobRows(cockpit).evaluateAll((all) =>
      all.map((one) => ({
        y: one.getBoundingClientRect().y,
        height: one.getBoundingClientRect().height,
        columns: [...one.children].map((cell) => cell.getBoundingClientRect().x),
      })),
    );
  const before = await places();
  // In another workspace's directory it would not be found: this is where the server was started.
  await server.client.call('submitJob', { body: { command: 'touch go' } });
  await finished(server, first);
  await expect(row).toContainText('done');
  const rowHeight = 28;
  // The job that ended it stands above all others now, which went down by one row and are else where they were.
  const moved = before.map((place) => ({ ...place, y: place.y + rowHeight }));
  expect((await places()).slice(1, 4)).toEqual(moved.slice(0, 3));
});

test('a job that comes while the list is read is not lost from it', async ({ cockpit, server }) => {
  await finished(server, await submit(server, { command: ': there before' }));
  await expect(rowOf(cockpit, 'there before')).toBeVisible();
  const [answer, go] = [Promise.withResolvers<undefined>(), Promise.withResolvers<undefined>()];
  await cockpit.route('**/api/v1/jobs?*', async (route) => {
    const response = await route.fetch();
    answer.resolve(undefined);
    await go.promise;
    await route.fulfill({ response });
  });
  const isRead = cockpit.waitForResponse('**/api/v1/jobs?*');
  await history(cockpit).getByRole('button', { name: 'Refresh the history' }).click();
  await answer.promise;
  await finished(server, await submit(server, { command: ': came meanwhile' }));
  await expect(rowOf(cockpit, 'came meanwhile')).toContainText('done');
  go.resolve(undefined);
  await isRead;
  await cockpit.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve))));
  await expect(rowOf(cockpit, 'came meanwhile')).toContainText('done');
  await expect(rowOf(cockpit, 'there before')).toBeVisible();
});

test('without the server the history says so and what to do, and comes back', async ({ cockpit, server }) => {
  await finished(server, await submit(server, { command: 'echo before it went away' }));
  await expect(rowOf(cockpit, 'before it went away')).toBeVisible();
  await server.kill();
  await history(cockpit).getByRole('button', { name: 'Refresh the history' }).click();
  const alert = history(cockpit).getByRole('alert');
  await expect(alert).toContainText('The history could not be read; what is shown may be old', {
    timeout: 20_000,
  });
  await expect(rowOf(cockpit, 'before it went away')).toBeVisible();
  // In vain, as long as it is away.
  await alert.getByRole('button', { name: 'Try again' }).click();
  await expect(alert).toBeVisible();
  await server.restart();
  await finished(server, await submit(server, { command: 'echo after it came back' }));
  // It reads again by itself when the server is back.
  await expect(alert).toBeHidden({ timeout: 20_000 });
  await expect(rowOf(cockpit, 'after it came back')).toBeVisible();
  await expect(cockpit.getByText('live', { exact: true })).toBeVisible({ timeout: 20_000 });
});

test('older jobs come as the reader goes down; new ones are announced, not pushed in', async ({
  cockpit,
  server,
}) => {
  test.slow();
  let last;
  for (let batch = 0; batch < 12; batch += 1) {
    const numbers = Array.from({ length: 10 }, (_, index) => batch * 10 + index + 1);
    last = await Promise.all(
      numbers.map((number) => submit(server, { command: `: page ${String(number)};` })),
    );
  }
  for (const job of last ?? []) await finished(server, job);
  await cockpit.goto(`${server.url}/?q=${encodeURIComponent(': page')}`);
  await expect(rowOf(cockpit, ': page 12').first()).toBeVisible();
  await jobRows(cockpit).first().hover();
  const oldest = rowOf(cockpit, /: page [1-9];/).first();
  await expect(async () => {
    await cockpit.mouse.wheel(0, 3000);
    await expect(oldest).toBeVisible({ timeout: 300 });
  }).toPass();

  await submit(server, { command: ': page news;' });
  const news = history(cockpit).getByRole('button', { name: /^1 new/ });
  await expect(news).toBeVisible();
  await expect(oldest).toBeVisible();
  await news.click();
  await expect(rowOf(cockpit, ': page news;')).toBeVisible();
});
