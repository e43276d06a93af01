import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isFinal, type Job, type JobEvent, type JobSubmission } from '@vmo/contract';
import type { JobsConnection } from '@vmo/client';
import { startTestServer, until, type TestServer } from '@vmo/testkit';
import { afterAll, beforeAll, expect, it } from 'vitest';

const mib = 1024 * 1024;
/** Half of the limit. */
const partBytes = mib / 2;
/** What a terminal emulator may still read in the spool. */
const attachedBytes = mib;

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ env: { VMO_MAX_LOG_MIB: '1' } });
}, 60_000);
afterAll(() => server[Symbol.asyncDispose]());

const submit = async (body: JobSubmission): Promise<Job> =>
  (await server.client.call('submitJob', { body })).job;
const find = async ({ id }: Job): Promise<Job> =>
  (await server.client.call('getJob', { params: { jobId: id } })).job;
async function bytesOf({ id }: Job, stream: 'stdout' | 'system'): Promise<string> {
  return (await server.client.download('getLog', { params: { jobId: id }, query: { stream } })).text();
}

/** Begins to follow a terminal as a page does. */
function watch(connection: JobsConnection, { id: jobId }: Job) {
  const screens: string[] = [];
  const seen = { text: '' };
  connection.followJob({
    ...{ jobId, screen: true },
    onSubscribed: ({ screen }) => void screens.push(screen?.data ?? ''),
    onEvents: (events) => void (seen.text += events.map(({ chunk }) => chunk).join('')),
  });
  return { screens, seen };
}

async function eventsOf({ id }: Job): Promise<JobEvent[]> {
  const all: JobEvent[] = [];
  for (;;) {
    const query = { afterSeq: all.at(-1)?.seq ?? 0 };
    const { events } = await server.client.call('listEvents', { params: { jobId: id }, query });
    if (events.length === 0) return all;
    all.push(...events);
  }
}

it('a terminal that goes on for ever keeps its screen, and the first and the newest part of its log', async () => {
  const job = await submit({
    command: 'seq 1 500000; echo "fin""ished"; read line; echo "<$line>"; read line',
    type: 'terminal',
  });
  await until('all of it', async () => (await bytesOf(job, 'stdout')).endsWith('finished\r\n'), {
    ...{ timeoutMs: 60_000, everyMs: 200 },
  });
  const spool = () => stat(join(server.dataDirectory, 'runs', job.id, 'stdout'));
  expect((await spool()).size).toBeGreaterThan(attachedBytes + 3 * partBytes);
  await until('its spool to be freed', async () => (await spool()).blocks * 512 < attachedBytes + partBytes);
  // Freed in the spool first, then left out of the log.
  await until('its log to be short', async () => (await bytesOf(job, 'stdout')).length < 3 * partBytes);

  // Loaded anew, and after a restart: what is on the screen is there, and typing goes on.
  const page = server.connect();
  const first = watch(page, job);
  await until('the screen', () => Promise.resolve(first.screens.length > 0));
  expect(first.screens[0]).toMatch(/499999\r\n500000\r\nfinished/);
  page.close();
  await server.kill();
  await server.restart();
  const again = server.connect();
  const { screens, seen } = watch(again, job);
  await until('the screen', () => Promise.resolve(screens.length > 0));
  expect(screens[0]).toBe(first.screens[0]);
  await again.command('job:input', { jobId: job.id, data: 'hello\r' });
  await until('the answer', () => Promise.resolve(seen.text.includes('<hello>')));
  await again.command('job:input', { jobId: job.id, data: '\r' });
  await until('its end', async () => isFinal((await find(job)).status));
  again.close();

  expect(await find(job)).toMatchObject({ status: 'done', logState: 'cut' });
  const log = await bytesOf(job, 'stdout');
  const events = await eventsOf(job);
  const gap = events.findIndex(({ seq }, at) => seq !== at + 1);
  const kept = (part: JobEvent[]) =>
    part.flatMap(({ stream, chunk }) => (stream === 'stdout' ? [chunk] : [])).join('');
  const [head, tail] = [kept(events.slice(0, gap)), kept(events.slice(gap))];
  expect(head + tail).toBe(log);
  expect(head.startsWith('1\r\n2\r\n')).toBe(true);
  expect(head.length).toBeGreaterThanOrEqual(partBytes);
  expect(tail).toMatch(/500000\r\nfinished\r\n/);
  expect(tail.length).toBeGreaterThan(partBytes / 2);
  const words = await bytesOf(job, 'system');
  expect(words).toContain(
    'the output of the terminal is longer than 512 KiB: of what follows, only the newest 512 KiB are kept\n',
  );
  const missing = ((await spool()).size - log.length).toLocaleString('en');
  expect(words).toContain(`${missing} bytes between the first part and the newest are left out\n`);
  expect(words).not.toContain('somebody changed');
}, 120_000);
