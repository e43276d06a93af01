import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile, readlink, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { JobsConnection } from '@vmo/client';
import { isVmLive, type Vm, type VmId } from '@vmo/contract';
import { connectQmp, smallGuestPrompt } from '@vmo/hypervisor';
import type { TestServer } from '@vmo/testkit';
import type { Page } from '@playwright/test';
import { sql } from 'kysely';
import type { Bench, Part } from './bench.ts';
import { median, repeated } from './figures.ts';
import { ownDirectory, startServer } from './jobs.ts';
import { withDatabase } from './limits.ts';
import { withPage } from './page.ts';

const boots = 5;

async function vmOf(server: TestServer, vmId: VmId): Promise<Vm> {
  return (await server.client.call('getVm', { params: { vmId } })).vm;
}

async function reached(server: TestServer, vmId: VmId, is: (vm: Vm) => boolean): Promise<Vm> {
  for (;;) {
    const vm = await vmOf(server, vmId);
    if (is(vm)) return vm;
    if (vm.status === 'crashed') throw new Error(`the machine crashed: ${vm.reason ?? ''}`);
    await delay(5);
  }
}

const act = (server: TestServer, vmId: VmId, action: 'start' | 'force-stop') =>
  server.client.call('actOnVm', { params: { vmId }, body: { action } });

async function stopped(server: TestServer, vmId: VmId): Promise<void> {
  await act(server, vmId, 'force-stop');
  await reached(server, vmId, ({ status }) => !isVmLive(status));
}

/** Milliseconds from the request to start until the guest's prompt has come through the log to a client. */
async function startToPrompt(server: TestServer, connection: JobsConnection, vm: Vm): Promise<number> {
  const before = vm.jobId;
  const begin = performance.now();
  await act(server, vm.id, 'start');
  const { jobId } = await reached(server, vm.id, (now) => now.jobId !== null && now.jobId !== before);
  if (jobId === null) throw new Error('it has no job');
  const seen = Promise.withResolvers<number>();
  let text = '';
  const subscription = connection.followJob({
    jobId,
    onEvents: (events) => {
      for (const { stream, chunk } of events) if (stream === 'boot') text += chunk;
      if (text.includes(smallGuestPrompt)) seen.resolve(performance.now() - begin);
    },
    onDone: () => {
      seen.reject(new Error(`the machine ended before its prompt: ${text.slice(-500)}`));
    },
  });
  try {
    return await seen.promise;
  } finally {
    subscription.close();
  }
}

/** The same QEMU with the same arguments, started by nobody but us: from the start until the prompt is in its file. */
async function plainToPrompt(argv: readonly string[], directory: string, file: string): Promise<number> {
  const [program = '', ...args] = argv;
  await rm(file, { force: true });
  const log = await open(file, 'a');
  const begin = performance.now();
  const child = spawn(program, args, { cwd: directory, stdio: ['ignore', 'ignore', 'ignore', log.fd] });
  try {
    while (!(await readFile(file, 'latin1')).includes(smallGuestPrompt)) {
      if (child.exitCode !== null) throw new Error(`plain QEMU ended with ${String(child.exitCode)}`);
      await delay(2);
    }
    return performance.now() - begin;
  } finally {
    child.kill('SIGKILL');
    await once(child, 'exit');
    await log.close();
  }
}

async function startAndTalk({ add }: Bench): Promise<void> {
  await using server = await startServer();
  const connection = server.connect();
  try {
    const { vm: made } = await server.client.call('tryVm');
    const vm = await reached(server, made.id, ({ status, pid }) => status === 'running' && pid !== null);
    const argv = (await readFile(`/proc/${String(vm.pid)}/cmdline`, 'utf8')).split('\0').slice(0, -1);
    const monitor = argv.find((word) => word.includes('qmp2.sock'));
    // QEMU names its files from its own directory on.
    const directory = await readlink(`/proc/${String(vm.pid)}/cwd`);
    const socket = join(directory, /path=([^,]+)/.exec(monitor ?? '')?.[1] ?? '');
    {
      await using qmp = await connectQmp({ path: socket });
      add({
        name: 'QMP round trip',
        unit: 'ms',
        how: '`query-status`, 500 times, one after another, beside the cockpit’s own monitor',
        values: await repeated(500, async () => {
          const begin = performance.now();
          await qmp.execute('query-status');
          return performance.now() - begin;
        }),
      });
    }
    await stopped(server, vm.id);
    const log = join(await ownDirectory(server), 'plain.log');
    const ours: number[] = [];
    const plain: number[] = [];
    // By turns: what slows the machine down hits both.
    for (let round = 0; round < boots; round++) {
      plain.push(await plainToPrompt(argv, directory, log));
      ours.push(await startToPrompt(server, connection, await vmOf(server, vm.id)));
      await stopped(server, vm.id);
    }
    add({
      name: 'start of a machine → its prompt at a client',
      unit: 'ms',
      how: 'POST actions `start` until the prompt of the small guest has come through the stored log to a socket client',
      values: ours,
      limits: [
        { name: 'plain QEMU with the same arguments, until the prompt is in its file', values: plain },
      ],
    });
    add({
      name: 'overhead of a start against plain QEMU',
      unit: 'ms',
      how: 'each of the above less the median of plain QEMU',
      values: ours.map((value) => value - median(plain)),
      targets: [{ share: 0.5, atMost: 150 }],
    });
  } finally {
    connection.close();
  }
}

async function fill(server: TestServer, count: number): Promise<void> {
  await withDatabase(server, async (db) => {
    await sql`
      insert into vms (id, name, status, cpus, max_cpus, memory_mib, max_memory_mib, boot, network, display, created_by)
      select gen_random_uuid(), 'vm-' || lpad(n::text, 6, '0'), case when n % 9 = 0 then 'crashed' else 'stopped' end,
             1 + n % 4, 8, 256 * (1 + n % 16), 4096, '{"from":"disk"}', '{"mode":"none"}', 'none', 'bench'
      from generate_series((select count(*) from vms) + 1, ${sql.lit(count)}) as n`.execute(db);
    await sql`vacuum (analyze) vms`.execute(db);
  });
}

/** From the click on the page's link until the first rows are drawn. */
async function firstPaint(server: TestServer, page: Page): Promise<number> {
  await page.goto(server.url);
  await page.getByText('live', { exact: true }).waitFor();
  await page.evaluate(() => {
    const seen = new Promise<number>((resolve) => {
      document.addEventListener(
        'click',
        () => {
          const begin = performance.now();
          const look = () => {
            if (document.body.textContent.includes('vm-000001'))
              requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - begin)));
            else requestAnimationFrame(look);
          };
          look();
        },
        { capture: true, once: true },
      );
    });
    Object.assign(globalThis, { painted: seen });
  });
  await page.getByRole('link', { name: 'VMs' }).click();
  return page.evaluate(async () => Number(await (Reflect.get(globalThis, 'painted') as unknown)));
}

/** From a key in the filter until the rows are those that it lets through. */
async function filterTime(page: Page, word: string): Promise<number> {
  const field = page.getByRole('searchbox');
  await field.fill('');
  return field.evaluate(
    (element, word) =>
      new Promise<number>((resolve) => {
        if (!(element instanceof HTMLInputElement)) throw new Error('the filter is no input');
        const begin = performance.now();
        element.value = word;
        element.dispatchEvent(new InputEvent('input', { bubbles: true }));
        const look = () => {
          const rows = [...document.querySelectorAll('[role=row] a[href^="/vms/"]')];
          if (rows.length > 0 && rows.every((row) => row.textContent.includes(word)))
            setTimeout(() => resolve(performance.now() - begin));
          else requestAnimationFrame(look);
        };
        look();
      }),
    word,
  );
}

async function lists({ add }: Bench): Promise<void> {
  await using server = await startServer();
  for (const count of [1_000, 10_000]) {
    await fill(server, count);
    const words = count.toLocaleString('en');
    add({
      name: `GET /vms with ${words} machines`,
      unit: 'ms',
      how: 'a page of 100 from the middle, from a Node client, one after another',
      values: await repeated(200, async () => {
        const begin = performance.now();
        await server.client.call('listVms', { query: { after: 'vm-000500' } });
        return performance.now() - begin;
      }),
      targets: [{ share: 0.99, atMost: 50 }],
    });
    await withPage(server, async (page) => {
      add({
        name: `table of ${words} machines, first rows drawn`,
        unit: 'ms',
        how: 'from the click on VMs until the frame after the one with the first row',
        values: await repeated(5, () => firstPaint(server, page)),
        ...(count === 1_000 && { targets: [{ share: 0.5, atMost: 500 } as const] }),
      });
      await page.getByText(`${words} machines`).first().waitFor();
      add({
        name: `filter of ${words} machines`,
        unit: 'ms',
        how: 'from the input until the rows are the filtered ones',
        values: await repeated(10, () => filterTime(page, 'vm-0009')),
        targets: [{ share: 0.5, atMost: 50 }],
      });
    });
  }
}

async function vms(bench: Bench): Promise<void> {
  await startAndTalk(bench);
  await lists(bench);
}

export const vmsPart: Part = { name: 'vms', limitSeconds: 420, measure: vms };
