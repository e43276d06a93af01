import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, jobUrl, outputOf, outputRow, rowWith, screenOf, submit, test } from './story.ts';
import type { Page } from '@playwright/test';

const esc = '\x1b';
const bel = '\x07';
const secret = Buffer.from('stolen by a log').toString('base64');
const attacks = [
  `${esc}]0;stolen title${bel}title`,
  `${esc}]2;stolen title${esc}\\title again`,
  `${esc}]8;;https://example.invalid/${bel}a link${esc}]8;;${bel}`,
  `${esc}]8;;javascript:globalThis.stolen=1${esc}\\a script link${esc}]8;;${esc}\\`,
  `${esc}]52;c;${secret}${bel}clipboard`,
  `${esc}]1337;File=inline=1:${secret}${bel}picture`,
  `${esc}P$q"p${esc}\\device control`,
  `${esc}[6n${esc}[c${esc}[5n${esc}[21tquestions`,
  `${esc}[?1049h${esc}[?1000h${esc}[?2004h${esc}[?1049lmodes`,
  '\u009d0;stolen title\u009cC1 as characters',
  'file\u202Etxt.exe and \u2066isolated\u2069 text',
  '<script>globalThis.stolen = 1</script>',
  '<img src=x onerror="globalThis.stolen = 1">',
  '<a href="javascript:globalThis.stolen=1" id="stolen">click</a>',
  '&lt;b&gt; &amp; {{constructor}} ${1}',
];

/** Bytes that no text has: invalid UTF-8, lone C1 controls, NUL. */
const binary = Buffer.from([
  0xff, 0xfe, 0x80, 0xc3, 0x28, 0xed, 0xa0, 0x80, 0x9b, 0x36, 0x6e, 0x00, 0x41, 0x0a,
]);

const bytes = Buffer.concat([
  ...attacks.map((attack) => Buffer.from(`${attack}\n`)),
  binary,
  Buffer.from(`${'x'.repeat(1024 * 1024)}\nthe end of it\n`),
]);

/** What output must not change. */
async function state(page: Page) {
  return page.evaluate(async () => ({
    title: document.title,
    url: location.href,
    history: history.length,
    clipboard: await navigator.clipboard.readText(),
    stolen: 'stolen' in globalThis,
    scripts: document.scripts.length,
    frames: window.frames.length,
    foreign: document.querySelectorAll(
      'main [id=stolen], [role=log] :is(img, script, a, iframe, svg), .xterm :is(img, script, a, iframe, svg)',
    ).length,
  }));
}

test.use({ permissions: ['clipboard-read', 'clipboard-write'] });

test('nothing that a command prints does anything in the log but stand there; the bytes stay exact', async ({
  cockpit,
  server,
}) => {
  await writeFile(join(server.startDirectory, 'hostile'), bytes);
  await cockpit.evaluate(() => navigator.clipboard.writeText('mine'));
  const job = await submit(server, { command: 'cat hostile' });
  await cockpit.goto(jobUrl(server, job));
  await expect(outputRow(cockpit, 'the end of it')).toBeVisible({ timeout: 30_000 });
  await expect(rowWith(cockpit, /exit 0 after/)).toBeVisible();
  await expect(cockpit).toHaveTitle('cat hostile · VM-Orchestrator');
  const before = await state(cockpit);
  expect(before).toMatchObject({ clipboard: 'mine', stolen: false, foreign: 0, frames: 0 });

  await outputOf(cockpit).press('Home');
  await expect(outputRow(cockpit, '<script>globalThis.stolen = 1</script>')).toBeVisible();
  await expect(outputRow(cockpit, '<img src=x onerror="globalThis.stolen = 1">')).toBeVisible();
  await expect(outputRow(cockpit, 'a script link')).toBeVisible();
  await outputRow(cockpit, 'a script link').getByText('a script link').click();
  // Characters that turn the reading order are shown as what they are.
  await expect(outputRow(cockpit, 'txt.exe').locator('[data-mark]').first()).toBeVisible();
  expect(await outputRow(cockpit, 'txt.exe').locator('.text').textContent()).not.toMatch(
    /[\u202A-\u202E\u2066-\u2069]/,
  );
  expect(await state(cockpit)).toEqual(before);

  const download = cockpit.waitForEvent('download');
  await cockpit
    .getByRole('toolbar', { name: 'Log' })
    .getByRole('link', { name: /download/i })
    .click();
  const saved = await readFile(await (await download).path());
  const sha = (data: Buffer): string => createHash('sha256').update(data).digest('hex');
  expect(saved.length).toBe(bytes.length);
  expect(sha(saved)).toBe(sha(bytes));
});

test('nor in a terminal', async ({ cockpit, server }) => {
  await writeFile(join(server.startDirectory, 'hostile'), bytes);
  await cockpit.evaluate(() => navigator.clipboard.writeText('mine'));
  // The line of a megabyte would push the rest off the screen; what a terminal answers to questions comes as input.
  const job = await submit(server, {
    command: 'stty -echo; grep -av xxxx hostile; printf "\\033[m\\033(Bthe end of it\\n"; cat >/dev/null',
    type: 'terminal',
  });
  await cockpit.goto(jobUrl(server, job));
  await expect(screenOf(cockpit)).toContainText('the end of it');
  await expect(screenOf(cockpit)).toContainText('<script>globalThis.stolen = 1</script>');
  await expect(screenOf(cockpit)).toContainText('<img src=x onerror="globalThis.stolen = 1">');
  const link = await screenOf(cockpit).getByText('a script link').boundingBox();
  if (!link) throw new Error('the words of the link are not on the screen');
  // The terminal takes the pointer itself: press where the words are.
  await cockpit.mouse.click(link.x + link.width / 2, link.y + link.height / 2);
  const found = await state(cockpit);
  expect(found).toMatchObject({ clipboard: 'mine', stolen: false, foreign: 0, frames: 0 });
  expect(found.title).not.toContain('stolen title');
  expect(found.url).toContain(job.id);

  await cockpit.reload();
  await expect(screenOf(cockpit)).toContainText('the end of it');
  expect(await state(cockpit)).toMatchObject({ clipboard: 'mine', stolen: false, foreign: 0, frames: 0 });
});
