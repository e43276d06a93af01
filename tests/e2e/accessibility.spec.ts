import { startTestServer } from '@vmo/testkit';
import { expectAccessible } from './accessible.ts';
import {
  anotherBrowser,
  expect,
  finished,
  freshPage,
  jobUrl,
  openTerminal,
  rowWith,
  submit,
  test,
} from './story.ts';

// axe reads every element of a full page, several times over.
test.slow();

const colours = [30, 31, 32, 33, 34, 35, 36, 37, 90, 91, 92, 93, 94, 95, 96, 97]
  .map((code) => `\\033[${String(code)}mcolour ${String(code)}\\033[0m`)
  .join(' ');
const backgrounds = [41, 42, 43, 44, 45, 46, 47, 100, 101, 102, 103, 104, 105, 106, 107]
  .map((code) => `\\033[${String(code)}mback ${String(code)}\\033[0m`)
  .join(' ');
const colourful = `printf '${colours}\\n${backgrounds}\\n\\033[1mbold\\033[0m \\033[2mdim\\033[0m \\033[7minverse\\033[0m \\033[38;5;52mdark red\\033[0m\\n'; printf '\\033[33mwarning:\\033[0m unused\\n' >&2`;

test('login and the first, empty page are accessible', async ({ browser }) => {
  await using fresh = await startTestServer();
  const page = await freshPage(browser);
  await page.goto(fresh.url);
  await expect(page.getByLabel('Token')).toBeVisible();
  await expectAccessible(page, 'login');
  await page.getByLabel('Token').fill('wrong');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('alert')).toBeVisible();
  await expectAccessible(page, 'refused login');
  await page.getByLabel('Token').fill(fresh.token);
  await page.keyboard.press('Enter');
  await expect(page.getByText('No jobs yet')).toBeVisible();
  await expectAccessible(page, 'empty jobs page');
  await page.goto(`${fresh.url}/hosts`);
  await expect(page.getByText('No host yet')).toBeVisible();
  await expectAccessible(page, 'no hosts');
  await page.goto('about:blank');
});

test('logs, running and finished, are accessible', async ({ browser, server }) => {
  const page = await anotherBrowser(browser, server);
  const running = await submit(server, { command: `${colourful}; sleep 300` });
  await page.goto(jobUrl(server, running));
  await expect(rowWith(page, 'unused').last()).toBeVisible();
  await expectAccessible(page, 'running log');
  const done = await finished(server, await submit(server, { command: `${colourful}; exit 1` }));
  await page.goto(jobUrl(server, done, 3));
  await expect(rowWith(page, /exit 1 after/)).toBeVisible();
  await page.getByRole('button', { name: 'Show the time of each line' }).click();
  await page.getByRole('button', { name: 'find', exact: true }).click();
  await page.getByRole('textbox', { name: 'Find in the log' }).fill('colour');
  await expect(page.getByText(/^1 of \d+/)).toBeVisible();
  await expectAccessible(page, 'finished log with a line marked, timestamps and matches');
});

test('a terminal is accessible', async ({ browser, server }) => {
  const page = await anotherBrowser(browser, server);
  await openTerminal(page);
  await page.keyboard.type(`printf '${colours}\\n'`);
  await page.keyboard.press('Enter');
  await expect(page.locator('.xterm-rows')).toContainText('colour 97');
  await expectAccessible(page, 'terminal');
});

test('hosts, dialogs and the page of an unknown address are accessible', async ({ browser, server }) => {
  const page = await anotherBrowser(browser, server);
  const { host } = await server.client.call('addHost', {
    body: { name: 'down', address: '127.0.0.1', port: 1 },
  });
  await page.goto(`${server.url}/hosts`);
  const card = page.getByRole('article', { name: host.name });
  await card.getByRole('button', { name: 'Test the connection' }).click();
  await expect(card.getByText(/refused/i)).toBeVisible({ timeout: 20_000 });
  await expectAccessible(page, 'hosts');
  await page.getByRole('button', { name: 'Add a host' }).click();
  await expect(page.getByRole('dialog')).toBeVisible();
  await expectAccessible(page, 'host form');
  await page.keyboard.press('Escape');
  await card.getByRole('button', { name: /^Remove/ }).click();
  await expect(page.getByRole('dialog')).toBeVisible();
  await expectAccessible(page, 'host removal');
  await page.getByRole('button', { name: 'Remove the host' }).click();
  await expect(card).toBeHidden();

  await page.goto(server.url);
  await page.getByRole('button', { name: 'Add a workspace' }).click();
  await expect(page.getByRole('dialog')).toBeVisible();
  await expectAccessible(page, 'workspace form');
  await page.keyboard.press('Escape');
  await expect(page.getByRole('dialog')).toBeHidden();
  for (const [key, what] of [
    [',', 'settings'],
    ['?', 'help'],
    ['Control+k', 'palette'],
  ] as const) {
    await page.keyboard.press(key);
    await expect(page.getByRole('dialog')).toBeVisible();
    await expectAccessible(page, what);
    await page.keyboard.press('Escape');
    await expect(page.getByRole('dialog')).toBeHidden();
  }
  await page.goto(`${server.url}/no-such-page`);
  await expect(page.getByText('There is no such page')).toBeVisible();
  await expectAccessible(page, 'unknown address');
});
