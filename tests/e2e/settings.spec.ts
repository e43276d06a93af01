import { connect } from '@vmo/db';
import { startTestServer } from '@vmo/testkit';
import { sql } from 'kysely';
import { expect, jobUrl, outputRow, rows, submit, test } from './story.ts';
import type { Page } from '@playwright/test';

const settings = (page: Page) => page.getByRole('dialog', { name: 'Settings' });
const kept = (page: Page): Promise<Record<string, unknown>> =>
  page.evaluate(() => JSON.parse(localStorage.getItem('vmo.preferences') ?? '{}') as Record<string, unknown>);

test('the settings open by the gear and by their key', async ({ cockpit }) => {
  await cockpit.getByRole('button', { name: 'Settings' }).click();
  await expect(settings(cockpit)).toBeVisible();
  await cockpit.keyboard.press('Escape');
  await expect(settings(cockpit)).toBeHidden();
  await cockpit.keyboard.press(',');
  await expect(settings(cockpit)).toBeVisible();
  await settings(cockpit).getByRole('button', { name: 'Close' }).click();
  await expect(settings(cockpit)).toBeHidden();
});

test('the theme is chosen at once and kept', async ({ cockpit }) => {
  const html = cockpit.locator('html');
  await expect(html).toHaveAttribute('data-theme', 'light'); // as the system of the test's browser says
  await cockpit.keyboard.press(',');
  await settings(cockpit).getByText('Dark', { exact: true }).click();
  await expect(html).toHaveAttribute('data-theme', 'dark');
  const bar = cockpit.getByRole('banner');
  const dark = await bar.evaluate((element) => getComputedStyle(element).backgroundColor);
  await cockpit.reload();
  await expect(html).toHaveAttribute('data-theme', 'dark');
  await expect(bar).toHaveCSS('background-color', dark);
  await cockpit.getByRole('button', { name: 'Use the light theme' }).click();
  await expect(html).toHaveAttribute('data-theme', 'light');
  await expect(bar).not.toHaveCSS('background-color', dark);
});

test('how logs are shown is kept', async ({ cockpit, server }) => {
  const job = await submit(server, { command: `echo ${'long '.repeat(200)}end` });
  await cockpit.goto(jobUrl(server, job));
  const line = outputRow(cockpit, /end$/);
  await expect(line).toBeVisible();
  const wrapped = await line.boundingBox();
  await cockpit.locator('body').press(',');
  await settings(cockpit).getByRole('switch', { name: 'Wrap long lines' }).click();
  await settings(cockpit).getByRole('switch', { name: 'Show timestamps' }).click();
  await cockpit.keyboard.press('Escape');
  const check = async (): Promise<void> => {
    await expect(rows(cockpit).locator('time').first()).toBeVisible();
    await expect.poll(async () => (await line.boundingBox())?.height).toBe(20);
  };
  await check();
  expect(wrapped?.height).toBeGreaterThan(20);
  await cockpit.reload();
  await check();
});

test('another server is tested before it is kept: a bad address is refused in words', async ({
  cockpit,
  server,
}) => {
  await cockpit.keyboard.press(',');
  const address = settings(cockpit).getByRole('textbox', { name: 'Backend address' });
  const save = settings(cockpit).getByRole('button', { name: 'Test and save' });
  await address.fill('ftp://somewhere');
  await expect(settings(cockpit).getByText('must be an address as http://host:port')).toBeVisible();
  await expect(save).toBeDisabled();
  await address.fill('http://127.0.0.1:1');
  await save.click();
  await expect(settings(cockpit).getByRole('alert')).toContainText('It was not saved');
  expect((await kept(cockpit)).backendUrl).toBe('');
  await cockpit.reload();
  await expect(cockpit.getByText('live', { exact: true })).toBeVisible();
  expect(cockpit.url()).toBe(`${server.url}/`);
});

test('another server that answers is kept and used from then on', async ({ cockpit, server }) => {
  await using other = await startTestServer({ env: { VMO_ALLOWED_ORIGINS: server.url } });
  await submit(other, { command: 'echo only on the other server' });
  await cockpit.keyboard.press(',');
  await settings(cockpit).getByRole('textbox', { name: 'Backend address' }).fill(other.url);
  await settings(cockpit).getByRole('button', { name: 'Test and save' }).click();

  await cockpit.getByLabel('Token').fill(other.token);
  await cockpit.keyboard.press('Enter');
  await expect(cockpit.getByText('live', { exact: true })).toBeVisible();
  expect((await kept(cockpit)).backendUrl).toBe(other.url);
  await cockpit.getByRole('link', { name: 'echo only on the other server' }).click();
  await expect(outputRow(cockpit, 'only on the other server')).toBeVisible();
  await cockpit.reload();
  await expect(outputRow(cockpit, 'only on the other server')).toBeVisible();

  await cockpit.locator('body').press(',');
  await settings(cockpit).getByRole('textbox', { name: 'Backend address' }).fill('');
  await settings(cockpit).getByRole('button', { name: 'Test and save' }).click();
  await expect(cockpit.getByRole('link', { name: 'echo only on the other server' })).toHaveCount(0);
  await expect(cockpit.getByText('live', { exact: true })).toBeVisible();
  expect((await kept(cockpit)).backendUrl).toBe('');
});

test('what the logs take on the disk is shown, and old ones are removed on demand', async ({
  cockpit,
  server,
}) => {
  const job = await submit(server, { command: 'echo of long ago' });
  await cockpit.goto(jobUrl(server, job));
  await expect(outputRow(cockpit, /^of long ago$/)).toBeVisible();
  await expect(rows(cockpit).filter({ hasText: /exit 0 after/ })).toBeVisible();
  const db = connect(server.database, { poolSize: 1 });
  try {
    await sql`create table job_events_20200102 partition of job_events for values from ('2020-01-02') to ('2020-01-03')`.execute(
      db,
    );
    await sql`update jobs set created_at = '2020-01-02T01:00:00Z' where id = ${job.id}`.execute(db);
    await sql`update job_events set ts = '2020-01-02T01:00:00Z' where job_id = ${job.id}`.execute(db);
  } finally {
    await db.destroy();
  }
  await cockpit.keyboard.press(',');
  await expect(settings(cockpit).getByText(/^[\d.,]+ [KMG]?i?B on the disk/)).toBeVisible();
  await settings(cockpit).getByRole('button', { name: 'Remove old logs now' }).click();
  await expect(settings(cockpit).getByText(/^Removed .+: the log of 1 job\.$/)).toBeVisible();
  await cockpit.keyboard.press('Escape');
  await cockpit.reload();
  await expect(outputRow(cockpit, /^of long ago$/)).toHaveCount(0);
});
