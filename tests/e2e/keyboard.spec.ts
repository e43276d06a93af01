import { chooseWorkspace, expect, history, outputRow, rowWith, submit, test } from './story.ts';
import type { Page } from '@playwright/test';

async function chooseDemo(page: Page): Promise<void> {
  await chooseWorkspace(page, 'demo');
  await expect(page.getByRole('button', { name: /^hello/ })).toBeVisible();
}

/** Whether a person sees where the focus is: an outline or a ring that is there only with it. */
async function focusIsSeen(page: Page): Promise<boolean> {
  return page.evaluate(() => {
    const { activeElement } = document;
    if (!activeElement || activeElement === document.body) return true;
    // The sign may be drawn by the element, by what is laid over it, or by the box around it.
    const places: [Element, string?][] = [
      [activeElement],
      [activeElement, '::after'],
      ...(activeElement.parentElement ? [[activeElement.parentElement] as [Element]] : []),
    ];
    return places.some(([element, part]) => {
      const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(element, part);
      return (outlineStyle !== 'none' && parseFloat(outlineWidth) > 0) || boxShadow !== 'none';
    });
  });
}

test('/ goes to the filter, Enter runs the first target found, Esc leaves', async ({ cockpit }) => {
  await chooseDemo(cockpit);
  await cockpit.locator('body').press('/');
  const filter = cockpit.getByRole('textbox', { name: /^Filter targets/ });
  await expect(filter).toBeFocused();
  await cockpit.keyboard.type('say hello');
  await expect(cockpit.getByRole('button', { name: /^hello/ })).toBeVisible();
  await expect(cockpit.getByRole('button', { name: /^build/ })).toHaveCount(0);
  await cockpit.keyboard.press('Enter');
  await expect(outputRow(cockpit, 'Hello, world!')).toBeVisible();
  await filter.focus();
  await cockpit.keyboard.press('Escape');
  await expect(filter).toHaveValue('');
  await cockpit.keyboard.press('Escape');
  await expect(filter).not.toBeFocused();
});

test('? shows every key, Esc closes it, and the focus is where it was', async ({ cockpit }) => {
  const gear = cockpit.getByRole('button', { name: 'Settings' });
  await gear.focus();
  await cockpit.keyboard.press('?');
  const help = cockpit.getByRole('dialog', { name: 'Keys' });
  await expect(help).toBeVisible();
  for (const words of ['Filter targets', 'Search the history', 'Find in the log', 'Settings'])
    await expect(help.getByText(words, { exact: true })).toBeVisible();
  await cockpit.keyboard.press('Escape');
  await expect(help).toBeHidden();
  await expect(gear).toBeFocused();
});

test('Ctrl-K finds a target and runs it, and finds a job and opens it', async ({ cockpit, server }) => {
  const job = await submit(server, { command: 'echo the needle of the haystack' });
  await chooseDemo(cockpit);
  await expect(
    history(cockpit)
      .getByRole('row', { name: /needle/ })
      .first(),
  ).toBeVisible();

  const selected = cockpit.getByRole('listbox', { name: 'Found' }).getByRole('option', { selected: true });
  await cockpit.keyboard.press('Control+k');
  const field = cockpit.getByRole('combobox', { name: /^Find/ });
  await expect(field).toBeFocused();
  await cockpit.keyboard.type('hello');
  await expect(selected).toContainText('make hello');
  await cockpit.keyboard.press('Enter');
  await expect(field).toBeHidden();
  await expect(outputRow(cockpit, 'Hello, world!')).toBeVisible();

  await cockpit.keyboard.press('Control+k');
  await cockpit.keyboard.type('haystack');
  await expect(selected).toContainText('needle of the haystack');
  await cockpit.keyboard.press('Enter');
  await expect(cockpit).toHaveURL(new RegExp(`job=${job.id}`));
  await expect(outputRow(cockpit, 'the needle of the haystack')).toBeVisible();

  await cockpit.keyboard.press('Control+k');
  await cockpit.keyboard.type('nothing is called this');
  await expect(cockpit.getByText(/^Nothing found/)).toBeVisible();
  await cockpit.keyboard.press('Escape');
  await expect(field).toBeHidden();
});

test('c goes to the command, h to the search of the history, x closes the tab', async ({ cockpit }) => {
  await cockpit.locator('body').press('c');
  await expect(cockpit.getByRole('textbox', { name: /^Command/ })).toBeFocused();
  await cockpit.keyboard.type('echo typed blind');
  await cockpit.keyboard.press('Enter');
  await expect(rowWith(cockpit, /exit 0 after/)).toBeVisible();
  await cockpit.keyboard.press('Escape');
  await cockpit.keyboard.press('h');
  await expect(history(cockpit).getByRole('searchbox')).toBeFocused();
  await cockpit.keyboard.press('Escape');
  await cockpit.keyboard.press('x');
  await expect(outputRow(cockpit, 'typed blind')).toHaveCount(0);
});

test('whoever goes through the page with Tab sees where they are at every step', async ({ cockpit }) => {
  await chooseDemo(cockpit);
  const seen = new Set<string>();
  for (let step = 0; step < 60; step += 1) {
    await cockpit.keyboard.press('Tab');
    const name = await cockpit.evaluate(() => document.activeElement?.outerHTML.slice(0, 300) ?? '');
    expect(await focusIsSeen(cockpit), `the focus is on ${name}`).toBe(true);
    seen.add(name);
  }
  expect(seen.size).toBeGreaterThan(20);
});
