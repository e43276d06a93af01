/// <reference lib="dom" />
import { existsSync } from 'node:fs';
import { chromium, type Page } from '@playwright/test';
import type { TestServer } from '@vmo/testkit';

/** Runs `work` with the real page in the real browser, logged in through the start URL. */
export async function withPage(server: TestServer, work: (page: Page) => Promise<void>): Promise<void> {
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
  try {
    const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
    await page.goto(server.loginUrl);
    await page.getByText('live', { exact: true }).waitFor();
    await work(page);
  } finally {
    await browser.close();
  }
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
    look(); // what is there already was seen by nobody: it must not count as late
    for (const stamp of seen.keys()) seen.set(stamp, NaN);
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
    return seen instanceof Map ? [...seen.values()].map(Number).filter((value) => !Number.isNaN(value)) : [];
  });
}

/**
 * Measures from what the person does next (a click, or a key pressed) until a line of the log is drawn that has this
 * text in it. Ask before doing it; the answer is there when the line is.
 */
export async function expectLine(
  page: Page,
  text: string,
  { from, until }: { from: 'pointerdown' | 'keydown' | 'click'; until: 'dom' | 'frame' },
): Promise<() => Promise<number>> {
  await page.evaluate(
    ({ text, from, until }) => {
      const found = new Promise<number>((resolve) => {
        const act = () => {
          const begin = performance.now();
          const look = () => {
            const isThere = [...document.querySelectorAll('[data-row] .text')].some((element) =>
              element.textContent.includes(text),
            );
            if (!isThere) return;
            observer.disconnect();
            if (until === 'dom') resolve(performance.now() - begin);
            else requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - begin)));
          };
          const observer = new MutationObserver(look);
          observer.observe(document.body, { childList: true, subtree: true, characterData: true });
        };
        document.addEventListener(from, act, { capture: true, once: true });
      });
      Object.assign(globalThis, { lineFound: found });
    },
    { text, from, until },
  );
  return () =>
    page.evaluate(async () => {
      const found: unknown = Reflect.get(globalThis, 'lineFound');
      return Number(await found);
    });
}
