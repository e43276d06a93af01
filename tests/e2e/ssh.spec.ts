import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startSshd, temporaryDirectory, type TestSshd } from '@vmo/testkit';
import { expect, finished, history, outputRow, rowWith, submit, test, typeCommand } from './story.ts';
import type { Page } from '@playwright/test';
import type { TestServer } from '@vmo/testkit';

const card = (page: Page, name: string) => page.getByRole('article', { name });

async function fillHost(page: Page, sshd: TestSshd, name: string): Promise<void> {
  await page.getByRole('button', { name: 'Add a host' }).first().click();
  const form = page.getByRole('dialog', { name: 'Add a host' });
  await form.getByRole('textbox', { name: 'Address' }).fill(sshd.host);
  await form.getByRole('textbox', { name: 'Name' }).fill(name);
  await form.getByRole('textbox', { name: 'User' }).fill(sshd.user);
  await form.getByRole('textbox', { name: 'Port' }).fill(String(sshd.port));
  await form.getByRole('textbox', { name: 'Identity file' }).fill(sshd.identityFile);
  await form.getByRole('button', { name: 'Add and test' }).click();
  await expect(form).toBeHidden();
}

/** As the page does it, without the page: for stories about what comes after. */
async function addTrustedHost(server: TestServer, sshd: TestSshd, name: string) {
  const { host, port, user, identityFile } = sshd;
  const added = await server.client.call('addHost', {
    body: { name, address: host, port, user, identityFile },
  });
  const params = { hostId: added.host.id };
  await server.client.call('trustHost', { params, body: { fingerprint: sshd.fingerprint } });
  return added.host;
}

test('a host is added, its key compared and trusted, and a command runs on it', async ({
  cockpit,
  server,
}) => {
  await using home = await temporaryDirectory('vmo-host-home-');
  await using sshd = await startSshd([`SetEnv HOME=${home.path}`]);
  await cockpit.getByRole('link', { name: 'Hosts', exact: true }).click();
  await fillHost(cockpit, sshd, 'lab');
  const lab = card(cockpit, 'lab');
  await expect(lab.getByText(sshd.fingerprint)).toBeVisible({ timeout: 20_000 });
  await expect(lab).toContainText('Compare it with what the host itself says');
  await lab
    .getByRole('listitem')
    .filter({ hasText: sshd.fingerprint })
    .getByRole('button', { name: /trust this key/ })
    .click();
  await expect(lab.getByText(/^\s*logged in as/)).toBeVisible({ timeout: 20_000 });
  await lab.getByRole('button', { name: 'Test the connection' }).click();
  await expect(lab.getByText(/^\s*logged in as/)).toBeVisible({ timeout: 20_000 });

  await cockpit.getByRole('link', { name: 'Jobs', exact: true }).click();
  await cockpit.getByLabel('Where it runs').selectOption({ label: 'lab' });
  await expect(cockpit.getByLabel('How it runs')).toHaveValue('ssh');
  await typeCommand(cockpit, 'echo "home is $HOME"; echo trouble >&2; exit 5');
  await expect(outputRow(cockpit, `home is ${home.path}`)).toBeVisible({ timeout: 20_000 });
  await expect(outputRow(cockpit, /^trouble$/)).toHaveClass(/stderr/);
  await expect(rowWith(cockpit, /exit 5 after/)).toBeVisible();
  const row = history(cockpit)
    .getByRole('row', { name: /home is/ })
    .first();
  await expect(row).toContainText('failed');
  await expect(row).toContainText('lab');
  await expect(row.getByRole('cell', { name: '5', exact: true })).toBeVisible();

  const { jobs } = await server.client.call('listJobs', { query: { limit: 1 } });
  expect(jobs[0]).toMatchObject({ type: 'ssh', exitCode: 5 });
});

test('a workspace on a host shows its targets and runs them there', async ({ cockpit, server }) => {
  await using home = await temporaryDirectory('vmo-host-home-');
  await using sshd = await startSshd([`SetEnv HOME=${home.path}`]);
  const directory = join(home.path, 'project');
  await mkdir(directory);
  await writeFile(join(directory, 'Makefile'), 'where: ## Say where\n\t@echo "made in $(CURDIR)"\n');
  await addTrustedHost(server, sshd, 'forge');
  await cockpit.reload();

  await cockpit.getByRole('button', { name: 'Add a workspace' }).click();
  const form = cockpit.getByRole('dialog', { name: 'Add a workspace' });
  await form.getByLabel('Where').selectOption({ label: 'forge' });
  await form.getByRole('textbox', { name: 'Directory' }).fill(join(home.path, 'nowhere'));
  await form.getByRole('button', { name: 'Add the workspace' }).click();
  await expect(form.getByText(/nowhere/).last()).toBeVisible({ timeout: 20_000 });
  await form.getByRole('textbox', { name: 'Directory' }).fill(directory);
  await form.getByRole('button', { name: 'Add the workspace' }).click();
  await expect(form).toBeHidden({ timeout: 20_000 });

  await cockpit.getByRole('button', { name: /^where/ }).click({ timeout: 20_000 });
  await expect(outputRow(cockpit, `made in ${directory}`)).toBeVisible({ timeout: 20_000 });

  // Its host goes down with this story: the page can do without it.
  await cockpit.getByRole('button', { name: 'More about this workspace' }).click();
  await cockpit.getByRole('menuitem', { name: /^Remove/ }).click();
  await cockpit.getByRole('button', { name: 'Remove from the list' }).click();
  await expect(cockpit.getByRole('button', { name: /^where/ })).toBeHidden();
});

test('cancel ends the command on the host and says what it ended', async ({ cockpit, server }) => {
  await using home = await temporaryDirectory('vmo-host-home-');
  await using sshd = await startSshd([`SetEnv HOME=${home.path}`]);
  const host = await addTrustedHost(server, sshd, 'brief');
  const job = await submit(server, { command: 'echo begun; sleep 301', type: 'ssh', host: host.name });
  const row = history(cockpit)
    .getByRole('row', { name: /sleep 301/ })
    .first();
  await row.getByRole('link').click();
  await expect(outputRow(cockpit, /^begun$/)).toBeVisible({ timeout: 20_000 });
  await row.getByRole('button', { name: /cancel/ }).click();
  await expect(rowWith(cockpit, /SIGTERM sent to process group .* on brief/)).toBeVisible({
    timeout: 20_000,
  });
  await expect(row).toContainText('cancelled', { timeout: 20_000 });
  expect(await finished(server, job)).toMatchObject({ status: 'cancelled' });
});
