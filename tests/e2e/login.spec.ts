import { startTestServer } from '@vmo/testkit';
import { expect, freshPage, test } from './story.ts';

// A server for these alone: a start link is for one login, and wrong tokens count.
test('the start link logs one browser in, once, and leaves no trace in the address', async ({
  browser,
  page,
}) => {
  await using fresh = await startTestServer();
  await page.goto(fresh.loginUrl);
  await expect(page.getByText('live', { exact: true })).toBeVisible();
  expect(page.url()).toBe(`${fresh.url}/`);
  const code = new URL(fresh.loginUrl).hash.replace('#login=', '');

  const cookies = await page.context().cookies();
  expect(cookies).toMatchObject([{ name: 'vmo_session', httpOnly: true, sameSite: 'Strict' }]);
  const kept = await page.evaluate(() =>
    JSON.stringify([localStorage, sessionStorage].map((storage) => Object.entries(storage))),
  );
  for (const secret of [code, fresh.token, cookies[0]?.value ?? '']) expect(kept).not.toContain(secret);
  expect(await page.evaluate(() => document.cookie)).toBe('');
  await page.reload();
  await expect(page.getByText('live', { exact: true })).toBeVisible();

  const other = await freshPage(browser);
  await other.goto(fresh.loginUrl);
  const refusal = other.getByRole('alert');
  await expect(refusal).toContainText('You were not logged in');
  await expect(refusal).toContainText('log in with the token, or restart for a new link');
  expect(other.url()).toBe(`${fresh.url}/`);
  await other.getByLabel('Token').fill(fresh.token);
  await other.keyboard.press('Enter');
  await expect(other.getByText('live', { exact: true })).toBeVisible();
  // Its first page goes before its server.
  await page.goto('about:blank');
  await other.goto('about:blank');
});

test('a wrong token is refused in words, and the right one works after it', async ({ page, server }) => {
  await page.goto(server.url);
  const field = page.getByLabel('Token');
  await expect(field).toBeFocused();
  await field.fill('not the token');
  await page.getByRole('button', { name: 'Log in' }).click();
  await expect(page.getByRole('alert')).toContainText('the token is wrong');
  await field.fill(server.token);
  await page.getByRole('button', { name: 'Log in' }).click();
  await expect(page.getByText('live', { exact: true })).toBeVisible();
});

test('logging out ends the session, here and for its other pages', async ({ cockpit, server }) => {
  const second = await cockpit.context().newPage();
  await second.goto(server.url);
  await expect(second.getByText('live', { exact: true })).toBeVisible();
  const [cookie] = await cockpit.context().cookies();

  await cockpit.getByRole('button', { name: 'Settings' }).click();
  await cockpit.getByRole('button', { name: 'Log out' }).click();
  await expect(cockpit.getByLabel('Token')).toBeVisible();
  await expect(second.getByLabel('Token')).toBeVisible();
  const answer = await fetch(`${server.url}/api/v1/jobs`, {
    headers: { cookie: `vmo_session=${cookie?.value ?? ''}` },
  });
  expect(answer.status).toBe(401);
  await cockpit.reload();
  await expect(cockpit.getByLabel('Token')).toBeVisible();
});
