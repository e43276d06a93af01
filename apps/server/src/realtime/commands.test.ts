import { JobId, type Job, type JobEvent, type Permission } from '@vmo/contract';
import { describe, expect, it } from 'vitest';
import type { Jobs } from '../jobs/index.ts';
import type { Client } from './client.ts';
import { createCommands } from './commands.ts';
import { createTerminalControl } from './terminal-control.ts';

const jobId = JobId.parse('01970c4e-7a01-7abc-8def-0123456789ab');

it('a screen that is behind the stored log is followed by everything that it does not show', async () => {
  const prompt: JobEvent = {
    ...{ jobId, seq: 2, stream: 'stdout', chunk: '# ', ts: '2026-01-01T00:00:00.000Z' },
    ...{ linesBefore: 2, continues: null, style: '' },
  };
  const job = { id: jobId, type: 'terminal', status: 'running', lastSeq: 2, logBytes: 2 } as Job;
  const jobs = {
    get: () => Promise.resolve(job),
    terminal: {
      screen: () => Promise.resolve({ screen: { data: '', cols: 80, rows: 24 }, offset: 0 }),
      storedBytes: () => Promise.resolve(2),
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

describe('the console of a machine', () => {
  const job = { id: jobId, type: 'vm', status: 'running', lastSeq: 0, logBytes: 0 } as Job;

  /** Somebody with these permissions, and what reaches the machine. */
  function createTypist(permissions: readonly Permission[]) {
    const typed: string[] = [];
    const commands = createCommands({
      jobs: { get: () => Promise.resolve(job) } as unknown as Jobs,
      vms: { input: (_id, data) => Promise.resolve(void typed.push(data)) },
      control: createTerminalControl(() => undefined),
      consoles: createTerminalControl(() => undefined),
    });
    const client = {
      socket: { connected: true },
      principal: { permissions: new Set(permissions) },
      inputQueue: Promise.resolve(),
      follow: () => ({ start: () => undefined }),
      unfollow: () => undefined,
      tellControl: () => undefined,
    } as unknown as Client;
    return { client, commands, typed };
  }

  it('is typed into by who holds vms:console', async () => {
    const { client, commands, typed } = createTypist(['jobs:read', 'jobs:run', 'vms:console']);
    expect((await commands['job:subscribe'](client, { jobId, screen: true })).answer.inControl).toBe(true);
    await commands['job:input'](client, { jobId, data: 'ls\r' });
    expect(typed).toEqual(['ls\r']);
  });

  it('is shown to others, who neither type nor take control', async () => {
    const { client, commands, typed } = createTypist(['jobs:read', 'jobs:run']);
    expect((await commands['job:subscribe'](client, { jobId, screen: true })).answer.inControl).toBe(false);
    const refused = { code: 'FORBIDDEN', message: 'this needs the permission vms:console' };
    await expect(commands['job:take-control'](client, { jobId })).rejects.toMatchObject(refused);
    await expect(commands['job:input'](client, { jobId, data: 'ls\r' })).rejects.toMatchObject({
      code: 'NOT_IN_CONTROL',
    });
    expect(typed).toEqual([]);
  });
});
