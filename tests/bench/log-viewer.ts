import type { Page } from '@playwright/test';
import type { Job } from '@vmo/contract';
import type { TestServer } from '@vmo/testkit';
import type { Bench, Part } from './bench.ts';
import { run, startServer } from './jobs.ts';
import { frameWaits } from './limits.ts';
import { expectLine, withPage } from './page.ts';

const lineCount = 1_000_000;

/** A million lines of 100 bytes, numbered, every thousandth with a word to search for. */
const millionLines = `awk 'BEGIN { for (n = 1; n <= ${String(lineCount)}; n++) { w = n % 1000 ? "compiling" : "needle"; printf "%-99s\\n", "line " n " " w " src/module_" n % 977 ".c -> build/module_" n % 977 ".o" } }'`;

const lineWords = (number: number): string => `line ${String(number)} `;

/** Clicks the job in the history of a page that is loaded and has nothing open. */
async function openings(server: TestServer, page: Page, job: Job, rounds: number): Promise<number[]> {
  const values: number[] = [];
  for (let round = 0; round < rounds; round++) {
    await page.goto(server.url);
    const link = page.locator(`[aria-label="History"] a[href*="${job.id}"]`);
    await link.waitFor();
    await page.waitForTimeout(200);
    const seen = await expectLine(page, lineWords(lineCount), { from: 'pointerdown', until: 'frame' });
    await link.click();
    values.push(await seen());
  }
  return values;
}

/** Follows a link to a line, in a page that shows the end of the log. */
async function jumps(server: TestServer, page: Page, job: Job, rounds: number): Promise<number[]> {
  const values: number[] = [];
  await page.goto(`${server.url}/?job=${job.id}`);
  await page.locator('[data-row] .text', { hasText: lineWords(lineCount) }).waitFor();
  for (let round = 0; round < rounds; round++) {
    const number = 1 + Math.floor(((round * 0.618 + 0.3) % 1) * (lineCount - 1));
    const seen = await expectLine(page, lineWords(number), { from: 'click', until: 'frame' });
    // The jobs' own link to a line is one in the page: the router takes it over.
    await page.evaluate(
      (address) => {
        const link = document.createElement('a');
        link.href = address;
        document.body.append(link);
        link.click();
        link.remove();
      },
      `/?job=${job.id}&line=${String(number)}`,
    );
    values.push(await seen());
  }
  return values;
}

async function viewer({ add }: Bench): Promise<void> {
  await using server = await startServer();
  const job = await run(server, { command: millionLines });
  await withPage(server, async (page) => {
    const frames = await frameWaits(page);
    add({
      name: 'open a finished log of 1,000,000 lines (100 MB), click → last line on the screen',
      unit: 'ms',
      how: 'the page is loaded; from the press on its row in the history until the frame that draws the last line',
      values: await openings(server, page, job, 15),
      targets: [{ share: 1, atMost: 300 }],
      limits: [frames],
    });
    add({
      name: 'link to a line of it → the line on the screen',
      unit: 'ms',
      how: 'the log is open at its end; from the click until the frame that draws the line, anywhere in the log',
      values: await jumps(server, page, job, 20),
      targets: [{ share: 1, atMost: 200 }],
      limits: [frames],
    });
  });
}

export const viewerPart: Part = { name: 'log-viewer', limitSeconds: 120, measure: viewer };
