/// <reference lib="dom" />
import { existsSync } from 'node:fs';
import { chromium, type Browser, type Page } from '@playwright/test';
import type { TestServer } from '@vmo/testkit';

/** The real page in the real browser, logged in through the start URL. */
export async function openPage(server: TestServer): Promise<{ browser: Browser; page: Page }> {
  const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(
    (path) => existsSync(path),
  );
  const browser = await chromium.launch({
    ...(executablePath === undefined ? {} : { executablePath }),
    args: [
      ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--no-first-run',
      '--disable-gpu',
    ],
  });
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
  await page.goto(server.loginUrl);
  return { browser, page };
}

/**
 * Notes the moment at which a line that begins with `@@` and a time (milliseconds since the epoch) is in the DOM.
 * The job and the browser run on one machine, so they read one clock.
 */
export async function watchStamps(page: Page): Promise<void> {
  await page.evaluate(() => {
    const seen = new Map<string, number>();
    Object.assign(globalThis, { stampsSeen: seen });
    const look = () => {
      const now = performance.timeOrigin + performance.now();
      for (const element of document.querySelectorAll('[data-row] .text')) {
        const stamp = /^@@([\d.]+)/.exec(element.textContent)?.[1];
        if (stamp !== undefined && !seen.has(stamp)) seen.set(stamp, now - Number(stamp));
      }
    };
    new MutationObserver(look).observe(document.body, {
      childList: true,
      subtree: true,
      characterData: true,
    });
  });
}

/** Milliseconds from the write to the DOM, per line, in order of appearance. */
export async function readStamps(page: Page): Promise<number[]> {
  return page.evaluate(() => {
    const seen: unknown = Reflect.get(globalThis, 'stampsSeen');
    return seen instanceof Map ? [...seen.values()].map(Number) : [];
  });
}
