import { JobId, type Job, type JobEvent } from '@vmo/contract';
import { expect, it } from 'vitest';
import type { Jobs } from '../jobs/index.ts';
import type { Client } from './client.ts';
import { createCommands } from './commands.ts';
import { createTerminalControl } from './terminal-control.ts';

const jobId = JobId.parse('01970c4e-7a01-7abc-8def-0123456789ab');

it('a screen that is behind the stored log is followed by everything that it does not show', async () => {
  const prompt: JobEvent = {
    ...{ jobId, seq: 2, stream: 'stdout', chunk: '# ', ts: '2026-01-01T00:00:00.000Z' },
    ...{ linesBefore: 2, continues: null },
  };
  const job = { id: jobId, type: 'terminal', status: 'running', lastSeq: 2, logBytes: 2 } as Job;
  const jobs = {
    get: () => Promise.resolve(job),
    terminal: {
      screen: () => Promise.resolve({ screen: { data: '', cols: 80, rows: 24 }, offset: 0 }),
      eventsAfter: () => Promise.resolve({ events: [prompt], lastSeq: 2, afterSeq: 1 }),
    },
  } as unknown as Jobs;
  const sent: number[] = [];
  const started: number[] = [];
  const client = {
    socket: { connected: false },
    follow: () => ({ start: (from: number) => started.push(from) }),
    unfollow: () => undefined,
    sendEvent: ({ seq }: JobEvent) => sent.push(seq),
  } as unknown as Client;
  const commands = createCommands({
    jobs,
    vms: { input: () => Promise.resolve() },
    control: createTerminalControl(() => undefined),
    consoles: createTerminalControl(() => undefined),
  });

  const { answer, after } = await commands['job:subscribe'](client, { jobId, screen: true });
  after?.();
  // The client drops what is not behind `lastSeq`: the prompt must be.
  expect(answer.lastSeq).toBe(1);
  expect(sent).toEqual([2]);
  expect(started).toEqual([2]);
});
