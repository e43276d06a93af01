import { anotherBrowser, expect, finished, history, openTerminal, screenOf, test } from './story.ts';
import type { Page } from '@playwright/test';
import type { TestServer } from '@vmo/testkit';

const typeLine = async (page: Page, line: string): Promise<void> => {
  await page.keyboard.type(line);
  await page.keyboard.press('Enter');
};

async function newestJob(server: TestServer) {
  const { jobs } = await server.client.call('listJobs', { query: { limit: 1 } });
  if (!jobs[0]) throw new Error('there is no job');
  return jobs[0];
}

test('a terminal opens beside the tabs, takes what is typed and follows the size of the window', async ({
  cockpit,
}) => {
  await openTerminal(cockpit);
  await typeLine(cockpit, 'echo $((6*7))');
  await expect(screenOf(cockpit)).toContainText('42');

  const size = cockpit.getByTitle(/^Columns × rows/);
  const before = await size.textContent();
  await cockpit.setViewportSize({ width: 1160, height: 900 });
  await expect(size).not.toHaveText(before ?? '');
  const [cols, rows] = ((await size.textContent()) ?? '').split('×');
  await typeLine(cockpit, 'stty size');
  await expect(screenOf(cockpit)).toContainText(`${String(rows)} ${String(cols)}`);
});

test('Ctrl-C reaches the program, and the keys of the page do not act while somebody types', async ({
  cockpit,
}) => {
  await openTerminal(cockpit);
  // Pressed before there is a program, it would be the shell's.
  await typeLine(cockpit, `sh -c 'echo be""gun; exec sleep 300'; echo "ended with $?"`);
  await expect(screenOf(cockpit)).toContainText('begun');
  await cockpit.keyboard.press('Control+c');
  await typeLine(cockpit, 'echo "h?/, $((40+2))"');
  await expect(screenOf(cockpit)).toContainText('h?/, 42');
  await expect(cockpit.getByRole('dialog')).toHaveCount(0);
});

test('an editor is on the screen again after the page was loaded anew', async ({ cockpit }) => {
  await openTerminal(cockpit);
  await expect(cockpit.getByTitle(/^Columns × rows/)).not.toHaveText('80×24');
  await typeLine(cockpit, 'cd "$(mktemp -d)"; vi -u NONE letter');
  await expect(screenOf(cockpit)).toContainText('~');
  await cockpit.keyboard.type('iwritten before the reload');
  await expect(screenOf(cockpit)).toContainText('written before the reload');
  const before = await screenOf(cockpit).innerText();

  await cockpit.reload();
  await expect(screenOf(cockpit)).toContainText('written before the reload');
  await expect.poll(() => screenOf(cockpit).innerText()).toBe(before);
  await cockpit.keyboard.type(', and after');
  await cockpit.keyboard.press('Escape');
  await typeLine(cockpit, ':wq');
  await expect(screenOf(cockpit)).not.toContainText('~');
  await typeLine(cockpit, 'cat letter');
  await expect(screenOf(cockpit)).toContainText('written before the reload, and after');
});

test('a second browser watches read only, takes control, and the first one watches', async ({
  browser,
  cockpit,
  server,
}) => {
  await openTerminal(cockpit);
  await typeLine(cockpit, 'echo begun $((1+1))');
  await expect(screenOf(cockpit)).toContainText('begun 2');

  const other = await anotherBrowser(browser, server);
  await other.goto(cockpit.url());
  await expect(screenOf(other)).toContainText('begun 2');
  await expect(other.getByText('read only')).toBeVisible();
  await other.getByRole('textbox', { name: 'Terminal input' }).focus();
  await other.keyboard.type('intruder');
  await typeLine(cockpit, 'echo still $((2+2))');
  for (const page of [cockpit, other]) await expect(screenOf(page)).toContainText('still 4');
  await expect(screenOf(cockpit)).not.toContainText('intruder');

  await other.getByRole('button', { name: 'take control' }).click();
  await expect(other.getByText('read only')).toBeHidden();
  await expect(cockpit.getByText('somebody else types')).toBeVisible();
  await typeLine(other, 'echo taken $((40+2))');
  for (const page of [cockpit, other]) await expect(screenOf(page)).toContainText('taken 42');
});

test('closing the tab does not end the terminal; its end is told in words', async ({ cockpit, server }) => {
  await openTerminal(cockpit);
  await typeLine(cockpit, 'echo kept $((20+1))');
  await expect(screenOf(cockpit)).toContainText('kept 21');
  const job = await newestJob(server);

  await cockpit.getByRole('button', { name: /^Close the tab/ }).click();
  await expect(screenOf(cockpit)).toHaveCount(0);
  const row = history(cockpit)
    .getByRole('row', { name: /terminal/ })
    .first();
  await expect(row).toContainText('running');
  await row.getByRole('link').click();
  await expect(screenOf(cockpit)).toContainText('kept 21');

  await typeLine(cockpit, 'exit 3');
  const terminal = cockpit.getByRole('region', { name: /^Terminal/ });
  await expect(terminal.getByText('failed')).toBeVisible();
  await expect(terminal.getByText(/exit 3\s+after/)).toBeVisible();
  await expect(screenOf(cockpit)).toContainText('kept 21');
  expect(await finished(server, job)).toMatchObject({ status: 'failed', exitCode: 3 });
});

test('a terminal goes on over a restart of the server', async ({ cockpit, server }) => {
  await openTerminal(cockpit);
  await typeLine(cockpit, 'greeting="from before"; echo ready $((3+4))');
  await expect(screenOf(cockpit)).toContainText('ready 7');
  await server.kill();
  await expect(cockpit.getByText('live', { exact: true })).toBeHidden();
  await server.restart();
  await expect(cockpit.getByText('live', { exact: true })).toBeVisible({ timeout: 30_000 });
  await expect(screenOf(cockpit)).toContainText('ready 7');
  await expect(async () => {
    await typeLine(cockpit, 'echo "$greeting $((5+6))"');
    await expect(screenOf(cockpit)).toContainText('from before 11', { timeout: 2000 });
  }).toPass();
});
