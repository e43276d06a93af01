import { setTimeout as delay } from 'node:timers/promises';
import type { Page } from '@playwright/test';
import type { TestServer } from '@vmo/testkit';
import type { Bench, Part } from './bench.ts';
import { cancelAll, ended, now, startServer, submit, untilRunning, writer } from './jobs.ts';
import { commitTimes, frameWaits, socketRoundTrips } from './limits.ts';
import { expectLine, readStamps, watchStamps, withPage } from './page.ts';

/** Ten lines a second: how long each takes into the page. */
async function writeToDom(server: TestServer, page: Page): Promise<number[]> {
  const job = await submit(server, { command: writer({ count: 300, everyMs: 100, bytes: 50 }) });
  await page.goto(`${server.url}/?job=${job.id}`);
  await page.locator('[data-row] .text', { hasText: '@@' }).first().waitFor();
  await watchStamps(page);
  await ended(server, job);
  await delay(300);
  return readStamps(page);
}

/** The same at a socket client in Node: what is left without Chromium. */
async function writeToSocket(server: TestServer): Promise<number[]> {
  const connection = server.connect();
  const values: number[] = [];
  try {
    const job = await submit(server, { command: writer({ count: 100, everyMs: 100, bytes: 50 }) });
    const subscription = connection.followJob({
      jobId: job.id,
      onEvents: (events) => {
        for (const { chunk } of events)
          for (const [, stamp] of chunk.matchAll(/@@([\d.]+) /g)) values.push(now() - Number(stamp));
      },
    });
    await ended(server, job);
    await delay(100);
    subscription.close();
  } finally {
    connection.close();
  }
  return values;
}

async function latency({ add }: Bench): Promise<void> {
  await using server = await startServer();
  await withPage(server, async (page) => {
    const limits = [await commitTimes(server), await socketRoundTrips(server), await frameWaits(page)];
    add({
      name: 'write(2) in the job → text in the DOM',
      unit: 'ms',
      how: 'one job writes 10 lines a second, each with its time; a MutationObserver in Chromium reads them',
      values: await writeToDom(server, page),
      targets: [
        { share: 0.5, atMost: 10 },
        { share: 0.99, atMost: 30 },
      ],
      limits,
    });
    await page.goto('about:blank');
    add({
      name: 'write(2) in the job → a socket client in Node',
      unit: 'ms',
      how: 'the same job, followed by a client without a browser',
      values: await writeToSocket(server),
      limits: limits.slice(0, 2),
    });
    const noise = await Promise.all(
      Array.from({ length: 20 }, () =>
        submit(server, { command: writer({ count: 100_000, everyMs: 10, bytes: 80 }) }),
      ),
    );
    await untilRunning(server, noise.length);
    await delay(1_000);
    add({
      name: 'write(2) → DOM while 20 other jobs write 100 lines a second each',
      unit: 'ms',
      how: 'as above; nobody follows the other jobs',
      values: await writeToDom(server, page),
      targets: [{ share: 0.99, atMost: 100 }],
      limits: [await commitTimes(server), await socketRoundTrips(server)],
    });
    await cancelAll(server, noise);
  });
}

/** From the Enter key in the command field until the command's first output is in the page. */
async function submitInBrowser(server: TestServer, page: Page): Promise<number[]> {
  const values: number[] = [];
  const field = page.getByRole('textbox', { name: /^Command/ });
  for (let round = 0; round < 105; round++) {
    // Not thousands of tabs; and every round begins as the page of a person who has just come.
    if (round % 5 === 0) await page.goto(server.url);
    const words = `first-${String(round)}-byte`;
    await field.fill(`echo first-$((${String(round)}))-byte`);
    // The command before has ended, and the page knows: until then Enter does nothing.
    await page.getByRole('button', { name: 'Run the command' }).and(page.locator(':enabled')).waitFor();
    const seen = await expectLine(page, words, { from: 'keydown', until: 'dom' });
    await field.press('Enter');
    const value = await seen();
    // The first is without the compiled code of a page that has been used.
    if (round >= 5) values.push(value);
    await delay(50);
  }
  return values;
}

async function submitOverSocket(server: TestServer): Promise<number[]> {
  const connection = server.connect();
  const values: number[] = [];
  try {
    for (let round = 0; round < 100; round++) {
      const begin = performance.now();
      const first = Promise.withResolvers<number>();
      const stop = connection.on('job:log', ({ stream }) => {
        if (stream === 'stdout') first.resolve(performance.now() - begin);
      });
      const { job } = await connection.command('execute-command', { command: 'echo x' });
      values.push(await first.promise);
      stop();
      await ended(server, job);
    }
  } finally {
    connection.close();
  }
  return values;
}

async function submission({ add }: Bench): Promise<void> {
  await using server = await startServer();
  await withPage(server, async (page) => {
    add({
      name: 'submit → first output byte in the browser',
      unit: 'ms',
      how: '`echo` typed into the command field, from the Enter key until its output is in the DOM',
      values: await submitInBrowser(server, page),
      targets: [
        { share: 0.5, atMost: 40 },
        { share: 0.99, atMost: 150 },
      ],
      limits: [await commitTimes(server), await frameWaits(page)],
    });
  });
  add({
    name: 'submit → first output byte at a socket client in Node',
    unit: 'ms',
    how: 'execute-command over the socket, `echo x`, one after another',
    values: await submitOverSocket(server),
  });
}

export const latencyPart: Part = { name: 'latency', limitSeconds: 150, measure: latency };
export const submitPart: Part = { name: 'submit', limitSeconds: 90, measure: submission };
