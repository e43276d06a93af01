import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Page } from '@playwright/test';
import type { Job } from '@vmo/contract';
import type { TestServer } from '@vmo/testkit';
import {
  anotherBrowser,
  expect,
  finished,
  jobUrl,
  outputOf,
  outputRow,
  rows,
  rowWith,
  submit,
  test,
} from './story.ts';

test.slow();

/** The long log of all stories here, made once. Line 300 turns bold orange on, and line 900,000 off. */
let million: Promise<Job> | undefined;
function millionLines(server: TestServer): Promise<Job> {
  const command = `seq 1 299; printf '\\033[1;38;5;208m'; seq 300 899999; printf '\\033[0m'; seq 900000 1000000`;
  million ??= submit(server, { command }).then((job) => finished(server, job));
  return million;
}

/** Milliseconds from an action in the page until a line with exactly this text is drawn. */
function timeUntilLine(
  page: Page,
  action: 'nothing' | { click: string } | { scrollTo: number },
  text: RegExp,
) {
  return page.evaluate(
    ([what, source]) =>
      new Promise<number>((resolve) => {
        const start = performance.now();
        if (what !== 'nothing' && 'click' in what) document.querySelector<HTMLElement>(what.click)?.click();
        const region = document.querySelector('[role=log]');
        if (what !== 'nothing' && 'scrollTo' in what && region)
          region.scrollTop = region.scrollHeight * what.scrollTo;
        const wanted = new RegExp(source);
        const look = (): void => {
          const log = document.querySelector('[role=log]')?.getBoundingClientRect();
          const isThere = [...document.querySelectorAll('[data-row] .text')].some((line) => {
            const { top, bottom } = line.getBoundingClientRect();
            return log && bottom > log.top && top < log.bottom && wanted.test(line.textContent);
          });
          if (isThere) resolve(performance.now() - start);
          else requestAnimationFrame(look);
        };
        look();
      }),
    [action, text.source] as const,
  );
}

/** What the page's own objects take, in megabytes. */
async function heapOf(page: Page): Promise<number> {
  const session = await page.context().newCDPSession(page);
  await session.send('HeapProfiler.collectGarbage');
  const { usedSize } = await session.send('Runtime.getHeapUsage');
  return usedSize / 1024 / 1024;
}

const says = (what: string, ms: number): void => console.log(`  ${what}: ${String(Math.round(ms))} ms`);

/**
 * What was promised holds for the page; what it takes longer in some rounds is what else this machine does. So the best
 * of the rounds has to keep the bound, and every round one that a person would call slow.
 */
function expectBest(what: string, rounds: readonly number[], bound: number): void {
  const inWords = rounds.map((ms) => Math.round(ms)).join(', ');
  console.log(`  ${what}: ${inWords} ms, the best of them below ${String(bound)}`);
  expect(rounds.length).toBeGreaterThanOrEqual(5);
  expect(Math.min(...rounds)).toBeLessThan(bound);
  expect(Math.max(...rounds)).toBeLessThan(1500);
}

test('a log of a million lines opens at its end, and every line of it is there at once', async ({
  cockpit,
  server,
}) => {
  const job = await millionLines(server);
  const link = `[role=row] a[href*="${job.id}"]`;
  const openings: number[] = [];
  for (let round = 0; round < 5; round++) {
    await cockpit.goto(server.url);
    await expect(cockpit.locator(link)).toBeVisible();
    openings.push(await timeUntilLine(cockpit, { click: link }, /^exit 0 after/));
  }
  expectBest('opened at the end', openings, 300);
  await expect(outputRow(cockpit, /^1000000$/)).toBeInViewport();

  const jumps: number[] = [];
  for (const part of [0.5, 0.1, 0.9, 0.333, 0.7]) {
    const wanted = new RegExp(`^${String(Math.floor(part * 10))}\\d{5}$`);
    jumps.push(await timeUntilLine(cockpit, { scrollTo: part }, wanted));
    await expect(rows(cockpit).and(cockpit.locator('[data-blank]'))).toHaveCount(0);
  }
  expectBest('scrolled to a place', jumps, 200);
  // A wheel moves by as much as in a short log.
  const line = rows(cockpit).nth(20);
  const index = Number(await line.getAttribute('data-row'));
  const before = await cockpit.locator(`[data-row="${String(index)}"]`).boundingBox();
  await line.hover();
  await cockpit.mouse.wheel(0, 100);
  await expect
    .poll(async () => (await cockpit.locator(`[data-row="${String(index)}"]`).boundingBox())?.y)
    .toBeCloseTo((before?.y ?? 0) - 100, -0.5);

  await outputOf(cockpit).press('Home');
  await expect(outputRow(cockpit, /^1$/)).toBeInViewport();
  await outputOf(cockpit).press('End');
  await expect(rowWith(cockpit, /^exit 0 after/)).toBeInViewport();
  const heap = await heapOf(cockpit);
  console.log(`  heap: ${heap.toFixed(1)} MB`);
  expect(heap).toBeLessThan(200);
});

test('a link goes to any line of a million', async ({ cockpit, server }) => {
  const job = await millionLines(server);
  for (const number of [500_000, 1, 1_000_000]) {
    await cockpit.goto(jobUrl(server, job, number));
    const target = cockpit.locator('[data-row].target');
    await expect(target).toBeInViewport();
    await expect(target.locator('.number')).toHaveText(String(number));
    // What was turned on hundreds of thousands of lines before is on, and what was turned off is off.
    const styled = target.locator('.text .bold');
    await expect(styled).toHaveCount(number === 500_000 ? 1 : 0);
    // Orange, as light or dark as the theme can show it.
    if (number === 500_000) await expect(styled).toHaveCSS('color', /^oklch\(\S+ 0\.18\d* 56\./);
  }
  await cockpit.goto(jobUrl(server, job, 5_000_000));
  await expect(cockpit.getByText(/There is no line 5,000,000/).first()).toBeVisible();
  await expect(rowWith(cockpit, /^exit 0 after/)).toBeInViewport();
});

test('find looks through all of a million lines, from where the reader is', async ({ cockpit, server }) => {
  const job = await millionLines(server);
  await cockpit.goto(jobUrl(server, job, 2));
  await expect(outputRow(cockpit, /^10$/)).toBeVisible();
  await outputOf(cockpit).press('Control+f');
  const field = cockpit.getByRole('textbox', { name: 'Find in the log' });
  const count = cockpit.getByRole('search').getByRole('status');
  const start = Date.now();
  await field.fill('77777');
  await expect(count).toHaveText('1 of 19', { timeout: 20_000 });
  says('found in a million lines', Date.now() - start);
  await expect(outputRow(cockpit, /^77777$/)).toBeInViewport();
  await expect(cockpit.locator('.text .current')).toHaveText('77777');
  await field.press('Enter');
  await expect(outputRow(cockpit, /^177777$/)).toBeInViewport();
  await field.press('Shift+Enter');
  await field.press('Shift+Enter');
  await expect(outputRow(cockpit, /^977777$/)).toBeInViewport();
  await cockpit.getByRole('button', { name: 'Regular expression' }).click();
  await field.fill('^5{6}$');
  await expect(count).toHaveText('1 of 1', { timeout: 20_000 });
  await expect(outputRow(cockpit, /^555555$/)).toBeInViewport();
  await expect(cockpit.locator('.text .current')).toHaveText('555555');
});

test('a long log shows only what was written to stderr, and where it was read in all of it', async ({
  cockpit,
  server,
}) => {
  // The pauses keep the streams in this order: each is read on its own.
  const command =
    'seq -f "out %.0f" 30000; sleep 1; seq -f "err %.0f" 1000 >&2; sleep 1; seq -f "out %.0f" 30001 60000';
  const job = await finished(server, await submit(server, { command }));
  await cockpit.goto(jobUrl(server, job));
  await expect(rowWith(cockpit, /exit 0/)).toBeVisible();
  for (const stream of ['stdout', 'system'])
    await cockpit.getByRole('button', { name: stream, exact: true }).click();
  await expect(outputRow(cockpit, /^err 1000$/)).toBeVisible();
  await expect(rowWith(cockpit, /^out/)).toHaveCount(0);
  await outputOf(cockpit).press('Home');
  await expect(outputRow(cockpit, /^err 1$/)).toBeInViewport();
  await expect(outputRow(cockpit, /^err 2$/)).toBeInViewport();
  await cockpit.getByRole('button', { name: 'stdout', exact: true }).click();
  await expect(outputRow(cockpit, /^out 30000$/)).toBeAttached();
  await expect(outputRow(cockpit, /^err 1$/)).toBeInViewport();
});

test('groups fold, one or all of them, and a link into one opens it', async ({ cockpit, server }) => {
  const command =
    'for g in one two three; do echo "::group::$g"; for i in $(seq 1 50); do echo "$g $i"; done; echo "::endgroup::"; done; echo after';
  const job = await finished(server, await submit(server, { command }));
  await cockpit.goto(jobUrl(server, job));
  await expect(rowWith(cockpit, /exit 0/)).toBeVisible();
  await cockpit.getByRole('button', { name: 'Fold groups' }).click();
  await expect(outputRow(cockpit, /^(one|two|three) \d/)).toHaveCount(0);
  await expect(outputRow(cockpit, /^after$/)).toBeVisible();
  await cockpit.getByRole('button', { name: 'Unfold two' }).click();
  await expect(outputRow(cockpit, /^two 1$/)).toBeVisible();
  await expect(outputRow(cockpit, /^one/)).toHaveCount(0);
  const number = await outputRow(cockpit, /^two 1$/)
    .locator('.number')
    .textContent();
  await cockpit.getByRole('button', { name: 'Fold two' }).click();
  await expect(outputRow(cockpit, /^two 1$/)).toHaveCount(0);
  await outputOf(cockpit).press('End');
  await outputOf(cockpit).press('g');
  await expect(outputRow(cockpit, /^three 50$/)).toBeVisible();
  await outputOf(cockpit).press('g');
  await expect(outputRow(cockpit, /^three 50$/)).toHaveCount(0);
  await cockpit.getByRole('button', { name: 'stderr', exact: true }).click();
  await expect(outputRow(cockpit, /^three 50$/)).toBeVisible();
  await expect(cockpit.getByRole('button', { name: 'Fold groups' })).toHaveAttribute('aria-disabled', 'true');
  await cockpit.goto(jobUrl(server, job, Number(number)));
  await expect(cockpit.locator('[data-row].target')).toContainText('two 1');
});

test('the errors and warnings of a compiler are marked, counted, and gone to one by one', async ({
  cockpit,
  server,
}) => {
  await writeFile(
    join(server.startDirectory, 'wrong.c'),
    'int main(void) {\n  int unused = 1;\n  return missing;\n}\n',
  );
  const command = 'seq 1 3000; gcc -Wall -c wrong.c -o /dev/null; seq 3001 6000';
  const job = await finished(server, await submit(server, { command }));
  await cockpit.goto(jobUrl(server, job));
  await expect(rowWith(cockpit, /exit 0/)).toBeVisible();
  await expect(cockpit.getByRole('img', { name: '1 error, 1 warning' })).toBeVisible();
  await outputOf(cockpit).press('Home');
  await outputOf(cockpit).press('e');
  const target = cockpit.locator('[data-row].target');
  await expect(target).toContainText(/wrong\.c:3:\d+: error|wrong\.c:2:\d+: warning/);
  await expect(target).toBeInViewport();
  const first = await target.textContent();
  await cockpit.getByRole('button', { name: 'Next problem' }).click();
  await expect(target).not.toHaveText(first ?? '');
  await expect(target.getByRole('img', { name: /^(error|warning)$/ })).toBeVisible();
  await outputOf(cockpit).press('Shift+E');
  await expect(target).toHaveText(first ?? '');
});

test('a line of a megabyte is shown in part, and more of it when asked for', async ({ cockpit, server }) => {
  const command = `head -c 1000000 /dev/zero | tr '\\0' x; echo; echo next`;
  const job = await finished(server, await submit(server, { command }));
  await cockpit.goto(jobUrl(server, job));
  await expect(outputRow(cockpit, /^next$/)).toBeVisible();
  const line = rowWith(cockpit, /^x{4000}/);
  const more = line.getByRole('button', { name: /show more/ });
  await more.click();
  await expect(line.locator('.text')).toHaveText(/^x{20000}$/);
  await more.click();
  await expect(line.locator('.text')).toHaveText(/^x{100000}$/);
});

test('a flood does not stop the page, and its lines are there when it is over', async ({
  browser,
  server,
}) => {
  const page = await anotherBrowser(browser, server);
  const job = await submit(server, { command: 'seq 1 8000000; echo over' });
  await page.goto(jobUrl(server, job));
  await expect(rowWith(page, /^\d{4,}$/).first()).toBeVisible();
  const longest = await page.evaluate(async () => {
    let most = 0;
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) most = Math.max(most, duration);
    }).observe({ type: 'longtask' });
    const turns: number[] = [];
    for (let turn = 0; turn < 5; turn++) {
      most = 0;
      await new Promise((resolve) => setTimeout(resolve, 600));
      turns.push(most);
    }
    return turns;
  });
  // A task waits for its processor as well, of which the command and the server take what they can.
  expectBest('longest task of some of the flood', longest, 200);
  await expect(rowWith(page, /exit 0 after/)).toBeVisible({ timeout: 90_000 });
  await expect(outputRow(page, /^over$/)).toBeVisible();
  await rows(page).last().hover();
  await page.mouse.wheel(0, -3000);
  await expect(rows(page).and(page.locator('[data-blank]'))).toHaveCount(0);
  const numbers = (await rows(page).locator('.number').allTextContents()).map(Number);
  expect(numbers).toEqual(numbers.map((_, index) => (numbers[0] ?? 0) + index));
  const heap = await heapOf(page);
  console.log(`  heap after the flood: ${heap.toFixed(1)} MB`);
  expect(heap).toBeLessThan(200);
});

test('what a flood leaves out is counted, and loads on a click', async ({ browser, server }) => {
  const page = await anotherBrowser(browser, server);
  const stop = join(server.startDirectory, 'stop-flood');
  // Lines so long that fewer fit into a turn of the page than into its window; each begins with its number.
  const job = await submit(server, {
    command: `x=$(head -c 40000 /dev/zero | tr '\\0' x); n=0; while [ ! -e stop-flood ]; do seq -f "%.0f $x" $((n + 1)) $((n + 300)); n=$((n + 300)); done`,
  });
  await page.goto(jobUrl(server, job));
  await expect(rowWith(page, /x{100}/).first()).toBeVisible();
  const asked = page.waitForRequest(/\/lines\?/);
  // The row moves on with the flood: it is looked at and clicked in the moment in which it is there.
  const clicked = await page.evaluate(
    () =>
      new Promise<{ words: string; last: number; drawnBelow: number }>((resolve) => {
        const look = () => {
          const row = document.querySelector('[data-blank=gap]');
          const button = row?.querySelector('button');
          const below = row?.nextElementSibling?.querySelector('.number')?.textContent;
          if (!row || !button || !below) requestAnimationFrame(look);
          else {
            const words = button.textContent.trim();
            const last = Number(row.querySelector('.number')?.textContent);
            button.click();
            resolve({ words, last, drawnBelow: Number(below) });
          }
        };
        look();
      }),
  );
  const counted = Number(/^⋯ ([\d,]+) lines not shown — load$/.exec(clicked.words)?.[1]?.replaceAll(',', ''));
  // The row stands for the last of them, and right below is the next line that is here.
  expect(clicked.drawnBelow).toBe(clicked.last + 1);
  expect(counted).toBeGreaterThan(1);
  const first = clicked.last - counted + 1;
  expect(first).toBeGreaterThan(0);
  await asked;
  await writeFile(stop, '');
  await expect(rowWith(page, /exit 0 after/)).toBeVisible({ timeout: 60_000 });
  await expect(rows(page).and(page.locator('[data-blank]'))).toHaveCount(0);

  // Every line that was left out is there, in its place: read from the first to the last of them, screen by screen.
  await page.getByRole('button', { name: 'Wrap long lines' }).click();
  await page.goto(jobUrl(server, job, first));
  await expect(page.locator('[data-row].target .number')).toHaveText(String(first));
  const read = new Map<number, { output: number; isOwn: boolean }>();
  for (let screens = 0; !read.has(clicked.last); screens++) {
    expect(screens).toBeLessThan(counted);
    await expect(rows(page).and(page.locator('[data-blank]'))).toHaveCount(0);
    const drawn = await rows(page).evaluateAll((all) =>
      all.map((row) => ({
        number: Number(row.querySelector('.number')?.textContent),
        output: Number(row.querySelector('.text')?.textContent.split(' ')[0]),
        isOwn: row.classList.contains('system'),
      })),
    );
    const numbers = drawn.map(({ number }) => number);
    expect(numbers).toEqual(numbers.map((_, index) => (numbers[0] ?? 0) + index));
    for (const { number, ...row } of drawn) read.set(number, row);
    await outputOf(page).press('PageDown');
  }
  const leftOut = Array.from({ length: counted }, (_, index) => read.get(first + index));
  expect(leftOut).not.toContain(undefined);
  // The cockpit says something in between where the log does not keep up.
  const output = leftOut.flatMap((row) => (row && !row.isOwn ? [row.output] : []));
  expect(output.length).toBeGreaterThan(counted - 10);
  expect(output).toEqual(output.map((_, index) => (output[0] ?? NaN) + index));
});

test('a progress bar is one line, live and after a reload', async ({ cockpit, server }) => {
  const command = `for i in $(seq 1 100); do printf '\\r[%-20s] %3d %%' "$(head -c $((i / 5)) /dev/zero | tr '\\0' '#')" $i; sleep 0.03; done; echo; echo ready`;
  const job = await submit(server, { command });
  await cockpit.goto(jobUrl(server, job));
  await expect(outputRow(cockpit, /^\[#+ *\] +\d+ %$/)).toHaveCount(1);
  await expect(outputRow(cockpit, /^\[#{20}\] 100 %$/)).toHaveCount(1);
  await expect(outputRow(cockpit, /^ready$/)).toBeVisible();
  await cockpit.reload();
  await expect(outputRow(cockpit, /^\[#{20}\] 100 %$/)).toHaveCount(1);
});

test('a secret is masked in the log, and the page keeps it nowhere', async ({ cockpit }) => {
  await cockpit.getByRole('button', { name: /^Directory, environment/ }).click();
  await cockpit.getByRole('button', { name: 'Add a secret' }).click();
  await cockpit.getByRole('textbox', { name: 'Name of secret 1' }).fill('TOKEN');
  await cockpit.getByLabel('Value of secret 1').fill('hunter2-hunter2');
  const field = cockpit.getByRole('textbox', { name: /^Command/ });
  await field.fill('echo "it is $TOKEN."');
  await field.press('Enter');
  await expect(outputRow(cockpit, /^it is \*+\.$/)).toBeVisible();
  const kept = await cockpit.evaluate(() =>
    JSON.stringify([Object.entries(localStorage), Object.entries(sessionStorage), location.href]),
  );
  expect(kept).not.toContain('hunter2');
});

test('a line is gone to by its number, and the whole of a long log is copied', async ({
  browser,
  server,
}) => {
  const job = await finished(server, await submit(server, { command: 'seq 1 50000' }));
  const page = await anotherBrowser(browser, server, { permissions: ['clipboard-read', 'clipboard-write'] });
  await page.goto(jobUrl(server, job));
  await expect(rowWith(page, /exit 0/)).toBeVisible();
  await outputOf(page).press('l');
  await page.getByRole('textbox', { name: 'Line number' }).fill('25,000');
  await page.keyboard.press('Enter');
  const target = page.locator('[data-row].target');
  await expect(target).toBeInViewport();
  await expect(target.locator('.number')).toHaveText('25000');
  await expect(page).toHaveURL(/line=25000/);
  await page.getByRole('button', { name: 'Copy all that is shown' }).click();
  await expect(page.getByRole('button', { name: 'Copied all that is shown' })).toBeVisible();
  const lines = (await page.evaluate(() => navigator.clipboard.readText())).split('\n');
  expect(lines.filter((line) => /^\d+$/.test(line)).map(Number)).toEqual(
    Array.from({ length: 50_000 }, (_, index) => index + 1),
  );
});
