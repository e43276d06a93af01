import { test as base, expect, type Browser, type BrowserContextOptions, type Page } from '@playwright/test';
import { isFinal, type Job, type JobSubmission } from '@vmo/contract';
import { startTestServer, until, type TestServer } from '@vmo/testkit';

export { expect };

interface Story {
  /** A page that has just logged in and shows the jobs. */
  cockpit: Page;
  /** Ends what the story left behind, and fails it for errors on any of its pages. */
  tidy: undefined;
}

/** Errors on the pages of the story that runs now, and the pages it opened besides its first. */
const faults: string[] = [];
const others: Page[] = [];

/** Every story runs against a real server with a database of its own; the stories of one file share it. */
export const test = base.extend<Story, { server: TestServer }>({
  server: [
    // eslint-disable-next-line no-empty-pattern -- Playwright reads the fixture's needs from this pattern
    async ({}, use) => {
      await using server = await startTestServer();
      await use(server);
    },
    { scope: 'worker' },
  ],
  tidy: [
    async ({ server }, use) => {
      faults.length = 0;
      await use(undefined);
      for (const page of others.splice(0)) await page.context().close();
      await endJobs(server);
      expect(faults, 'errors on the pages').toEqual([]);
    },
    { auto: true },
  ],
  page: async ({ page }, use) => {
    watchFaults(page);
    await use(page);
  },
  cockpit: async ({ page, server }, use) => {
    await logIn(page, server);
    await use(page);
  },
});

/** Errors that a person would find in the console, among them refusals by the content security policy. */
function watchFaults(page: Page): void {
  page.on('pageerror', (error) => faults.push(String(error)));
  page.on('console', (message) => {
    // A request that a story wants refused is logged by the browser itself.
    if (message.type() === 'error' && !/Failed to load resource|WebSocket connection/.test(message.text()))
      faults.push(message.text());
  });
}

/** No story leaves a process behind, nor takes the next one's slots. */
async function endJobs(server: TestServer): Promise<void> {
  const active = async (): Promise<Job[]> => {
    const { jobs } = await server.client.call('listJobs', { query: { limit: 200 } });
    return jobs.filter(({ status }) => !isFinal(status));
  };
  for (const { id } of await active()) await server.client.call('cancelJob', { body: { jobId: id } });
  await until('the end of every job', async () => (await active()).length === 0, {
    timeoutMs: 30_000,
    everyMs: 100,
  });
}

/** With the token, as the form of the login does, which has stories of its own: here, it is a page less to load. */
export async function logIn(page: Page, server: TestServer): Promise<void> {
  const answer = await page.request.post(`${server.url}/api/v1/session`, {
    data: { token: server.token },
    headers: { origin: server.url },
  });
  expect(answer.ok(), await answer.text()).toBe(true);
  await page.goto(server.url);
  await expect(page.getByText('live', { exact: true })).toBeVisible({ timeout: 20_000 });
}

/** A browser that knows nothing of the first one, not logged in; closed after the story. */
export async function freshPage(browser: Browser, options: BrowserContextOptions = {}): Promise<Page> {
  const page = await (await browser.newContext(options)).newPage();
  others.push(page);
  watchFaults(page);
  return page;
}

export async function anotherBrowser(
  browser: Browser,
  server: TestServer,
  options: BrowserContextOptions = {},
): Promise<Page> {
  const page = await freshPage(browser, options);
  await logIn(page, server);
  return page;
}

export async function submit(server: TestServer, body: JobSubmission): Promise<Job> {
  return (await server.client.call('submitJob', { body })).job;
}

export const jobUrl = (server: TestServer, job: Job, line?: number) =>
  `${server.url}/?job=${job.id}${line === undefined ? '' : `&line=${String(line)}`}`;

/** The job with a final status. */
export async function finished(server: TestServer, { id }: Job): Promise<Job> {
  return until(
    `the end of job ${id}`,
    async () => {
      const { job } = await server.client.call('getJob', { params: { jobId: id } });
      return isFinal(job.status) && job;
    },
    { timeoutMs: 30_000, everyMs: 50 },
  );
}

/** The rows of the log that are drawn now. */
export const rows = (page: Page) => page.locator('[data-row]');
/** Those with this in their text, which is without the line number. */
export const rowWith = (page: Page, text: string | RegExp) =>
  rows(page).filter({ has: page.locator('.text').filter({ hasText: text }) });
/** What the command itself wrote, without the cockpit's own lines. */
export const outputRow = (page: Page, text: string | RegExp) =>
  rowWith(page, text).and(page.locator(':not(.system)'));
export const outputOf = (page: Page) => page.getByRole('log', { name: /^Output of/ });

/** In the run panel; the history has a filter of the same name, which may be drawn first. */
export async function chooseWorkspace(page: Page, label: string): Promise<void> {
  await page
    .getByRole('region', { name: 'Run', exact: true })
    .getByLabel('Workspace', { exact: true })
    .selectOption({ label });
}

export async function typeCommand(page: Page, command: string): Promise<void> {
  const field = page.getByRole('textbox', { name: /^Command/ });
  await field.fill(command);
  await field.press('Enter');
}

export const history = (page: Page) => page.getByRole('region', { name: 'History' });

/** The rows of a terminal's screen. */
export const screenOf = (page: Page) => page.locator('.xterm-rows');

/** Opens a terminal and waits for its prompt. */
export async function openTerminal(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Open a terminal' }).click();
  await expect(page.getByRole('region', { name: /^Terminal/ })).toBeVisible();
  await expect(screenOf(page)).toContainText(/[$#]/);
}
