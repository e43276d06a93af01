import { expectAccessible } from './accessible.ts';
import { anotherBrowser, chooseWorkspace, expect, rowWith, submit, finished, test, jobUrl } from './story.ts';
import type { Locator, Page } from '@playwright/test';

const sizes = [
  { width: 360, height: 740 },
  { width: 768, height: 1024 },
  { width: 1440, height: 900 },
];

interface Box {
  name: string;
  x: number;
  y: number;
  width: number;
  height: number;
}

/**
 * Where each thing that can be pressed is, as far as its scroll containers let it be seen.
 * A stretched link (one that covers its row on purpose) counts with its own words only.
 */
function pressable(page: Page): Promise<Box[]> {
  return page.evaluate(() => {
    const selector = 'a[href], button, input, select, textarea, [role=switch], [role=separator]';
    return [...document.querySelectorAll(selector)].flatMap((element) => {
      let { left, top, right, bottom } = element.getBoundingClientRect();
      const style = getComputedStyle(element);
      if (style.visibility === 'hidden' || style.pointerEvents === 'none') return [];
      for (let around = element.parentElement; around; around = around.parentElement) {
        const { overflowX, overflowY } = getComputedStyle(around);
        const box = around.getBoundingClientRect();
        if (overflowX !== 'visible') [left, right] = [Math.max(left, box.left), Math.min(right, box.right)];
        if (overflowY !== 'visible') [top, bottom] = [Math.max(top, box.top), Math.min(bottom, box.bottom)];
      }
      // Words for screen readers alone are one pixel big.
      if (right - left <= 1 || bottom - top <= 1) return [];
      const words = element.getAttribute('aria-label') ?? element.textContent.trim();
      const name = `${element.tagName.toLowerCase()} “${words.slice(0, 60)}”`;
      return [{ name, x: left, y: top, width: right - left, height: bottom - top }];
    });
  });
}

function overlaps(boxes: readonly Box[]): string[] {
  const found: string[] = [];
  boxes.forEach((one, index) => {
    for (const other of boxes.slice(index + 1)) {
      const width = Math.min(one.x + one.width, other.x + other.width) - Math.max(one.x, other.x);
      const height = Math.min(one.y + one.height, other.y + other.height) - Math.max(one.y, other.y);
      if (width > 1 && height > 1) found.push(`${one.name} and ${other.name}`);
    }
  });
  return found;
}

async function expectWellLaidOut(page: Page, what: string): Promise<void> {
  const { scrollWidth, clientWidth } = await page.evaluate(() => ({
    scrollWidth: document.documentElement.scrollWidth,
    clientWidth: document.documentElement.clientWidth,
  }));
  expect(scrollWidth, `${what}: the page scrolls sideways`).toBeLessThanOrEqual(clientWidth);
  const boxes = await pressable(page);
  expect(overlaps(boxes), `${what}: things that lie on each other`).toEqual([]);
  const outside = boxes.filter(({ x, width }) => x < -1 || x + width > clientWidth + 1);
  expect(outside, `${what}: out of sight`).toEqual([]);
}

for (const viewport of sizes) {
  test(`everything fits and can be reached at ${String(viewport.width)} × ${String(viewport.height)}`, async ({
    browser,
    server,
  }) => {
    const job = await submit(server, { command: 'seq 1 200; echo wrong >&2; exit 3' });
    await finished(server, job);
    const page = await anotherBrowser(browser, server, { viewport });
    await chooseWorkspace(page, 'demo');
    const target = page.getByRole('button', { name: /^hello/ });
    const log = page.getByRole('region', { name: 'Log' });
    const row = page
      .getByRole('region', { name: 'History' })
      .getByRole('row', { name: /seq 1 200/ })
      .first();
    const bar = page.getByRole('navigation', { name: 'Panes' });

    if (viewport.width < 1100) {
      await expect(bar).toBeVisible();
      await expect(target).toBeVisible();
      await expectWellLaidOut(page, 'run');
      await bar.getByRole('button', { name: 'History' }).click();
      await expect(row).toBeVisible();
      await expectWellLaidOut(page, 'history');
      await row.getByRole('link').click();
      await expect(log).toBeVisible();
      await expect(rowWith(page, /exit 3/)).toBeVisible();
      await expectWellLaidOut(page, 'log');
      await expect(log.getByRole('button', { name: /find/i })).toBeInViewport();
      await bar.getByRole('button', { name: 'Run' }).click();
      await expect(target).toBeVisible();
    } else {
      await row.getByRole('link').click();
      await expect(rowWith(page, /exit 3/)).toBeVisible();
      for (const part of [target, log, row]) await expect(part).toBeInViewport();
      await expectWellLaidOut(page, 'jobs');
    }
    const isPhone = viewport.width < 640;
    if (isPhone) {
      await page.getByRole('button', { name: 'Pages, now Jobs' }).click();
      await expect(page.getByRole('navigation', { name: 'Pages' }).getByRole('link')).toHaveCount(6);
      await expectAccessible(page, 'the pages');
    }
    await page.getByRole('link', { name: 'Hosts', exact: true }).click();
    await expect(page.getByRole('heading', { name: 'Hosts' })).toBeVisible();
    if (isPhone) await expect(page.getByRole('button', { name: 'Pages, now Hosts' })).toBeVisible();
    await expectWellLaidOut(page, 'hosts');
    await page.getByRole('button', { name: 'Settings' }).click();
    const dialog = page.getByRole('dialog', { name: 'Settings' });
    await expect(dialog).toBeVisible();
    const box = await dialog.boundingBox();
    expect(box?.x).toBeGreaterThanOrEqual(0);
    expect((box?.x ?? 0) + (box?.width ?? 0)).toBeLessThanOrEqual(viewport.width);
  });
}

/** The places of the bars, and of what can be pressed in them. */
async function placesOf(parts: Readonly<Record<string, Locator>>): Promise<Record<string, unknown>> {
  const found = await Promise.all(
    Object.entries(parts).map(async ([name, part]) => [
      name,
      await part.evaluateAll((all) =>
        all.map((one) => {
          const { x, y, width, height } = one.getBoundingClientRect();
          // Clocks and latencies tick; it is their places that must not change.
          // A bar says more as the job goes on; what stands in it is looked at on its own.
          const isBar = one.matches('header, footer, nav');
          const words = isBar
            ? one.tagName
            : (one.getAttribute('aria-label') ?? one.textContent).replaceAll(/\d+/g, '0');
          return [words.trim().slice(0, 40), x, y, width, height];
        }),
      ),
    ]),
  );
  return Object.fromEntries(found) as Record<string, unknown>;
}

for (const viewport of sizes) {
  test(`while a build runs, nothing on the page moves by itself at ${String(viewport.width)} px`, async ({
    browser,
    server,
  }) => {
    const page = await anotherBrowser(browser, server, { viewport });
    const { workspaces } = await server.client.call('listWorkspaces');
    const demo = workspaces.find(({ name }) => name === 'demo');
    if (!demo) throw new Error('there is no demo workspace');
    const job = await submit(server, { command: 'make build SPEED=2', workspaceId: demo.id });
    await page.goto(jobUrl(server, job));
    await expect(page.locator('[data-row].stderr').first()).toBeVisible({ timeout: 30_000 });
    await expect(page.getByText('live', { exact: true })).toBeVisible();

    const parts = {
      bars: page.locator('header, footer, nav'),
      buttons: page.locator(':is(header, footer, nav, form) button'),
      fields: page.locator('input, select, textarea'),
    };
    const { before, after, shifts } = await (async () => {
      const places = await placesOf(parts);
      const moved = await page.evaluate(async () => {
        const seen: { value: number; what: string }[] = [];
        const observer = new PerformanceObserver((list) => {
          for (const entry of list.getEntries()) {
            const { value, hadRecentInput, sources } = entry as PerformanceEntry & {
              value: number;
              hadRecentInput: boolean;
              sources: { node?: Node }[];
            };
            const nodes = sources.map(({ node }) => node?.textContent?.slice(0, 80) ?? '');
            if (!hadRecentInput) seen.push({ value, what: nodes.join(' | ') });
          }
        });
        observer.observe({ type: 'layout-shift', buffered: false });
        await new Promise((resolve) => setTimeout(resolve, 3000));
        observer.disconnect();
        return seen;
      });
      return { before: places, after: await placesOf(parts), shifts: moved };
    })();
    expect(await server.client.call('getJob', { params: { jobId: job.id } })).toMatchObject({
      job: { status: 'running' },
    });
    expect(after).toEqual(before);
    const sum = shifts.reduce((total, { value }) => total + value, 0);
    expect(sum, JSON.stringify(shifts)).toBeLessThan(0.01);
  });
}
