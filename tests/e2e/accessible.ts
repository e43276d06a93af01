import AxeBuilder from '@axe-core/playwright';
import type { Page } from '@playwright/test';
import { expect } from './story.ts';

const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];

/**
 * No serious or critical violation; the message says what and where. The whole in the dark theme; of the light one the
 * contrast, which is all that another theme changes (axe takes seconds for each page).
 */
export async function expectAccessible(page: Page, what: string): Promise<void> {
  await page.emulateMedia({ colorScheme: 'light' });
  await expect(page.locator('html')).toHaveAttribute('data-theme', 'light');
  await analyse(page, `${what}, light`, (axe) => axe.withRules(['color-contrast']));
  await page.emulateMedia({ colorScheme: 'dark' });
  await expect(page.locator('html')).toHaveAttribute('data-theme', 'dark');
  await analyse(page, `${what}, dark`, (axe) => axe.withTags(tags));
}

async function analyse(page: Page, what: string, choose: (axe: AxeBuilder) => AxeBuilder): Promise<void> {
  // Colours in the middle of a transition are nobody's.
  await page.evaluate(() =>
    Promise.all(
      document
        .getAnimations()
        .filter(({ effect }) => effect?.getComputedTiming().endTime !== Infinity)
        .map((one) => one.finished.catch(() => null)),
    ),
  );
  // For frames of other origins, which the cockpit has none of, axe would be loaded once more, in a page of its own.
  const axe = new AxeBuilder({ page }).setLegacyMode().options({ resultTypes: ['violations'] });
  const { violations } = await choose(axe).analyze();
  const bad = violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => ({
      id,
      nodes: nodes.map(({ html, failureSummary }) => `${html}\n${String(failureSummary)}`),
    }));
  expect(bad, what).toEqual([]);
}
