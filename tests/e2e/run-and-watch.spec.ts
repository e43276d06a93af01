import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  anotherBrowser,
  chooseWorkspace,
  expect,
  history,
  jobUrl,
  outputOf,
  outputRow,
  rows,
  rowWith,
  submit,
  test,
  typeCommand,
} from './story.ts';

test('one click on a target shows its coloured output live, stderr set apart', async ({ cockpit }) => {
  await chooseWorkspace(cockpit, 'demo');
  await cockpit.getByRole('textbox', { name: 'SPEED' }).fill('20');
  await cockpit.getByRole('button', { name: /^build default/ }).click();

  const warning = rows(cockpit).and(cockpit.locator('.stderr')).first();
  await expect(warning).toBeVisible({ timeout: 30_000 });
  await expect(warning.locator('.mark')).toHaveAttribute('aria-label', 'stderr');
  await expect(rowWith(cockpit, /exit 0 after/)).toBeVisible({ timeout: 30_000 });
  await expect(
    history(cockpit)
      .getByRole('row', { name: /make build/ })
      .first(),
  ).toContainText('done');
  await outputOf(cockpit).press('Home');
  const heading = outputRow(cockpit, 'Looking around');
  await expect(heading).toBeVisible();
  const plain = await heading.locator('.text').evaluate((element) => getComputedStyle(element).color);
  await expect(heading.locator('.text span').first()).not.toHaveCSS('color', plain);
});

test('a typed command runs in the workspace, and arrow up brings it back', async ({ cockpit }) => {
  await typeCommand(cockpit, 'printf "\\033[31mred\\033[0m plain\\n"; echo wrong >&2');
  const line = outputRow(cockpit, 'red plain');
  await expect(line).toBeVisible();
  await expect(line.getByText('red', { exact: true })).not.toHaveCSS(
    'color',
    await line.locator('.text').evaluate((element) => getComputedStyle(element).color),
  );
  await expect(outputRow(cockpit, 'wrong')).toHaveClass(/stderr/);
  await cockpit.getByRole('textbox', { name: /^Command/ }).press('ArrowUp');
  await expect(cockpit.getByRole('textbox', { name: /^Command/ })).toHaveValue(/printf/);
});

test('the run buttons of a workspace wait while a job of theirs is active, unless parallel runs are on', async ({
  cockpit,
}) => {
  await chooseWorkspace(cockpit, 'demo');
  const hello = cockpit.getByRole('button', { name: /^hello/ });
  await cockpit.getByRole('button', { name: /^watch/ }).click();
  await expect(hello).toBeDisabled();
  await cockpit.getByRole('switch', { name: 'Parallel runs' }).click();
  await expect(hello).toBeEnabled();
  await cockpit.getByRole('switch', { name: 'Parallel runs' }).click();
  await expect(hello).toBeDisabled();

  // A command that is entered meanwhile is the next one, unless it is edited, or taken back.
  const field = cockpit.getByRole('textbox', { name: /^Command/ });
  const isNext = cockpit.getByText('Starts after');
  await field.fill('echo next');
  await field.press('Enter');
  await expect(isNext).toBeVisible();
  await field.press('Escape');
  await expect(isNext).toBeHidden();
  await field.press('Enter');
  await field.pressSequentially(' one');
  await expect(isNext).toBeHidden();
  await field.press('Enter');
  await expect(isNext).toBeVisible();
  await history(cockpit)
    .getByRole('row', { name: /make watch/ })
    .getByRole('button', { name: /cancel/i })
    .first()
    .click();
  await expect(outputRow(cockpit, 'next one')).toBeVisible();
  await expect(field).toHaveValue('');
  await expect(hello).toBeEnabled();
});

test('a job is cancelled from the history, and its log says what was done', async ({ cockpit }) => {
  await typeCommand(cockpit, 'echo begun; sleep 300');
  await expect(rowWith(cockpit, 'begun')).toHaveCount(2); // the command's own line, and its output
  const row = history(cockpit)
    .getByRole('row', { name: /sleep 300/ })
    .first();
  await row.getByRole('button', { name: /cancel/i }).click();
  await expect(row.getByText('cancelled')).toBeVisible();
  await expect(rowWith(cockpit, 'cancel requested by owner')).toBeVisible();
  await expect(rowWith(cockpit, /SIGTERM sent to process group/)).toBeVisible();
});

test('a reload in the middle of a run finds the tab, the log and its live end again', async ({ cockpit }) => {
  await typeCommand(cockpit, 'for i in 1 2 3 4 5 6 7 8; do echo "step $i"; sleep 0.4; done');
  await expect(rowWith(cockpit, /^step 2$/)).toBeVisible();
  await cockpit.reload();
  await expect(rowWith(cockpit, /step 1$/)).toBeVisible();
  await expect(rowWith(cockpit, /step 8$/)).toBeVisible();
  await expect(rowWith(cockpit, /exit 0 after/)).toBeVisible();
  const numbers = await rows(cockpit).locator('.number').allTextContents();
  expect(numbers).toEqual(numbers.map((_, index) => String(index + 1)));
});

test('two browsers watch one job and see the same; a job of one appears in the history of the other', async ({
  browser,
  cockpit,
  server,
}) => {
  const other = await anotherBrowser(browser, server);
  await typeCommand(cockpit, 'for i in 1 2 3 4 5; do echo "seen by both $i"; sleep 0.2; done');
  await history(other)
    .getByRole('row', { name: /seen by both/ })
    .first()
    .click();
  for (const page of [cockpit, other]) await expect(rowWith(page, /seen by both 5$/)).toBeVisible();
  await expect(rowWith(other, /exit 0 after/)).toBeVisible();
  expect(await rows(other).allTextContents()).toEqual(await rows(cockpit).allTextContents());
});

test('scrolling up stops following; a button says how many lines came and goes back', async ({
  cockpit,
  server,
}) => {
  const go = join(server.startDirectory, 'go-on');
  await typeCommand(cockpit, `seq 1 300; until [ -e ${go} ]; do sleep 0.05; done; seq -f 'late %g' 20`);
  await expect(rowWith(cockpit, /^300$/)).toBeVisible();
  const first = rows(cockpit).first();
  await first.hover();
  await cockpit.mouse.wheel(0, -2000);
  // The wheel is answered before its scrolling is over, and even before it begins.
  await expect(rowWith(cockpit, /^300$/)).toHaveCount(0);
  let text = await first.textContent();
  await expect
    .poll(async () => {
      const before = text;
      text = await first.textContent();
      return text === before;
    })
    .toBe(true);
  const before = await first.boundingBox();
  await writeFile(go, '');
  const jump = cockpit.getByRole('button', { name: /new line/ });
  await expect(jump).toBeVisible();
  await expect(outputRow(cockpit, 'late')).toHaveCount(0);
  await expect(jump).toHaveText(/\d\d new lines/);
  expect(await first.textContent()).toBe(text);
  expect(await first.boundingBox()).toEqual(before);
  await jump.click();
  await expect(outputRow(cockpit, 'late 20')).toBeVisible();
});

test('a link to a line shows that line, in another browser too', async ({ browser, server }) => {
  const job = await submit(server, { command: 'seq 1 5000' });
  const page = await anotherBrowser(browser, server);
  await page.goto(jobUrl(server, job, 2345));
  const target = page.locator('[data-row].target');
  await expect(target).toBeInViewport();
  await expect(target.locator('.number')).toHaveText('2345');
});

test('find counts, goes round, and says when there is nothing', async ({ cockpit, server }) => {
  const job = await submit(server, { command: 'seq 1 2000' });
  await cockpit.goto(jobUrl(server, job));
  await expect(rowWith(cockpit, /exit 0/)).toBeVisible();
  await cockpit.getByRole('button', { name: /find/i }).first().click();
  const field = cockpit.getByRole('textbox', { name: 'Find in the log' });
  await field.fill('777');
  const count = cockpit.getByRole('search').getByRole('status');
  // It begins where the reader is, which is at the end.
  await expect(count).toHaveText('2 of 2');
  await expect(rowWith(cockpit, /^1777$/)).toBeInViewport();
  await field.press('Enter');
  await expect(count).toHaveText('1 of 2');
  await expect(rowWith(cockpit, /^777$/)).toBeInViewport();
  await field.press('Shift+Enter');
  await expect(count).toHaveText('2 of 2');
  await field.fill('no such words');
  await expect(count).toHaveText('no match');
});

test('the log survives a restart of the server while the page is open, without a gap', async ({
  cockpit,
  server,
}) => {
  await typeCommand(cockpit, 'for i in $(seq 1 60); do echo "tick $i"; sleep 0.1; done; exit 4');
  await expect(rowWith(cockpit, /tick 5$/)).toBeVisible();
  await server.kill();
  await expect(cockpit.getByText('live', { exact: true })).toBeHidden();
  await server.restart();
  await expect(rowWith(cockpit, /exit 4 after/)).toBeVisible({ timeout: 30_000 });
  const { jobs } = await server.client.call('listJobs', { query: { limit: 1 } });
  const job = jobs[0];
  if (!job) throw new Error('there is no job');
  expect(job.exitCode).toBe(4);
  const log = await (await server.client.download('getLog', { params: { jobId: job.id } })).text();
  expect(log).toBe(Array.from({ length: 60 }, (_, index) => `tick ${String(index + 1)}\n`).join(''));
  const ticks = (await rows(cockpit).allTextContents())
    .map((text) => /tick (\d+)$/.exec(text)?.[1])
    .filter(Boolean)
    .map(Number);
  expect(ticks).toEqual([...ticks].sort((a, b) => a - b));
  expect(new Set(ticks).size).toBe(ticks.length);
});
