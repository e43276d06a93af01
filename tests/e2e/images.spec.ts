import type { Page } from '@playwright/test';
import type { TestServer } from '@vmo/testkit';
import { expectAccessible } from './accessible.ts';
import { anotherBrowser, expect, test } from './story.ts';

const mib = 1024 * 1024;
/** A raw disk: nothing in it looks like another format. */
const rawDisk = Buffer.alloc(3 * mib, 'vm');
const row = (page: Page, name: string) => page.getByRole('listitem', { name });

test.afterEach(async ({ server }) => {
  const { images } = await server.client.call('listImages');
  for (const { name, usedBy } of images)
    if (usedBy === 0) await server.client.call('deleteImage', { params: { imageName: name } });
});

/** An upload that somebody broke off in the middle. */
async function beginUpload(server: TestServer, name: string, bytes: number): Promise<void> {
  await server.client.call('createImage', {
    body: { name, kind: 'disk', format: 'raw', sizeBytes: rawDisk.length },
  });
  await server.client.upload('putImageBytes', {
    params: { imageName: name },
    query: { offset: 0 },
    bytes: new Blob([rawDisk.subarray(0, bytes)]),
  });
}

test('an image is uploaded, becomes ready, and a disk is made from it', async ({ cockpit, server }) => {
  await cockpit.getByRole('link', { name: 'Images', exact: true }).click();
  await expect(cockpit.getByText('No image yet')).toBeVisible();
  await cockpit.getByLabel('File to upload').setInputFiles({
    name: 'my disk (1).raw',
    mimeType: 'application/octet-stream',
    buffer: rawDisk,
  });
  const form = cockpit.getByRole('dialog', { name: 'Upload an image' });
  await expect(form.getByRole('textbox', { name: 'Name' })).toHaveValue('my-disk-1-.raw');
  await form.getByRole('textbox', { name: 'Name' }).fill('mine.raw');
  await form.getByRole('button', { name: 'Upload' }).click();
  await expect(row(cockpit, 'mine.raw')).toContainText('ready', { timeout: 20_000 });
  const { image } = await server.client.call('getImage', { params: { imageName: 'mine.raw' } });
  expect(image).toMatchObject({ state: 'ready', sizeBytes: rawDisk.length });

  await cockpit.getByRole('button', { name: 'New disk' }).click();
  const disk = cockpit.getByRole('dialog', { name: 'New disk' });
  await disk.getByRole('textbox', { name: 'Name' }).fill('from-mine');
  await disk.getByLabel('Made from').selectOption('mine.raw');
  await disk.getByRole('button', { name: 'Make the disk' }).click();
  await expect(disk).toBeHidden();
  const disks = cockpit.getByRole('region', { name: 'Disks' });
  await expect(disks).toContainText('on mine.raw');
  await expect(row(cockpit, 'mine.raw')).toContainText('used by 1');
  await expect(row(cockpit, 'mine.raw').getByRole('button', { name: /in use/ })).toBeDisabled();

  await disks.getByRole('button', { name: 'Delete from-mine' }).click();
  await cockpit.getByRole('button', { name: 'Delete the disk' }).click();
  await row(cockpit, 'mine.raw').getByRole('button', { name: 'Delete mine.raw' }).click();
  await cockpit.getByRole('button', { name: 'Delete the image' }).click();
  await expect(cockpit.getByText('No image yet')).toBeVisible();
});

test('an upload that was broken off goes on where it was, and only with the same file', async ({
  cockpit,
  server,
}) => {
  await beginUpload(server, 'half.raw', mib);
  await cockpit.goto(`${server.url}/images`);
  const half = row(cockpit, 'half.raw');
  await expect(half).toContainText('broken off');
  await expect(half).toContainText('1 MiB of 3 MiB');
  const picker = cockpit.getByLabel('The file of half.raw');
  const file = { name: 'half.raw', mimeType: 'application/octet-stream' };
  await picker.setInputFiles({ ...file, buffer: rawDisk.subarray(1) });
  await expect(cockpit.getByText('Choose the same file.')).toBeVisible();
  await picker.setInputFiles({ ...file, buffer: rawDisk });
  await expect(half).toContainText('ready', { timeout: 20_000 });
});

test('a template is kept and deleted; a name that is taken is told beside its field', async ({
  cockpit,
  server,
}) => {
  await cockpit.goto(`${server.url}/images`);
  const templates = cockpit.getByRole('region', { name: 'Templates' });
  for (const attempt of ['first', 'second']) {
    await templates.getByRole('button', { name: 'New template' }).click();
    const form = cockpit.getByRole('dialog', { name: 'New template' });
    await form.getByRole('textbox', { name: 'Name' }).fill('plain');
    await form.getByRole('textbox', { name: 'Disk size' }).fill('10 MiB');
    await form.getByRole('button', { name: 'Keep the template' }).click();
    if (attempt === 'first') await expect(form).toBeHidden();
    else {
      await expect(form.getByText(/plain|taken|exists/i).last()).toBeVisible();
      await cockpit.keyboard.press('Escape');
    }
  }
  await templates.getByRole('button', { name: 'Delete plain' }).click();
  await cockpit.getByRole('button', { name: 'Delete the template' }).click();
  await expect(templates).toContainText('None yet');
});

test('images are accessible and fit a phone', async ({ browser, server }) => {
  await beginUpload(server, 'half.raw', mib);
  const page = await anotherBrowser(browser, server, {
    viewport: { width: 360, height: 740 },
  });
  await page.goto(`${server.url}/images`);
  await expect(row(page, 'half.raw')).toBeVisible();
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360);
  await expectAccessible(page, 'images');
  await page.getByLabel('File to upload').setInputFiles({
    name: 'a.qcow2',
    mimeType: 'application/octet-stream',
    buffer: Buffer.from('QFI'),
  });
  await expect(page.getByRole('dialog')).toBeVisible();
  await expectAccessible(page, 'upload form');
});
