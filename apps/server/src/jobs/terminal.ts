import { carryStyle } from '@vmo/ansi';
import type { Kysely } from 'kysely';
import type { Database } from '@vmo/db';
import {
  CodedError,
  isFinal,
  type EventPage,
  type Job,
  type JobId,
  type TerminalScreen,
} from '@vmo/contract';
import { audit } from '../auth/index.ts';
import type { Actor } from '../kernel/actor.ts';
import { decodeStored, decodeText } from './codec.ts';
import { toEvent } from './log.ts';
import { findSeqBefore } from './log-repository.ts';
import type { JobService } from './service.ts';
import { readEvents } from './stored-events.ts';

/** The live side of terminal jobs: what the agent's terminal host answers. */
export interface Terminals {
  /** `offset`: the byte of stdout up to which the screen is drawn. null: there is no such live terminal. */
  screen(jobId: string): Promise<(TerminalScreen & { offset: number }) | null>;
  input(jobId: string, data: string): Promise<void>;
  resize(jobId: string, cols: number, rows: number): Promise<void>;
  openExternally(jobId: string): Promise<void>;
}

export interface TerminalServiceDeps {
  db: Kysely<Database>;
  service: JobService;
  terminals: Terminals;
}

const firstEvents = 100;
const firstBytes = 1024 * 1024;

export function createTerminalService({ db, service, terminals }: TerminalServiceDeps) {
  async function findTerminal(jobId: JobId): Promise<Job> {
    const job = await service.get(jobId);
    if (job.type !== 'terminal') {
      throw new CodedError(
        'NOT_A_TERMINAL',
        `job ${jobId} is of type ${job.type}: only terminal jobs have a screen and take input`,
      );
    }
    return job;
  }

  async function findLive(jobId: JobId): Promise<Job> {
    const job = await findTerminal(jobId);
    if (isFinal(job.status))
      throw new CodedError('JOB_NOT_RUNNING', `the terminal has ended (${job.status})`);
    return job;
  }

  return {
    async screen(jobId: JobId): Promise<{ screen: TerminalScreen; offset: number } | null> {
      const job = await findTerminal(jobId);
      if (isFinal(job.status)) return null;
      const found = await terminals.screen(jobId);
      if (!found) return null;
      const { offset, ...screen } = found;
      return { screen, offset };
    },

    async storedBytes(jobId: JobId): Promise<number> {
      const { stdout_bytes: end, stdout_base: base } = await service.find(jobId);
      return end - base;
    },

    async eventsAfter(jobId: JobId, byte: number): Promise<EventPage & { afterSeq: number }> {
      const row = await service.find(jobId);
      const offset = row.stdout_base + byte;
      const afterSeq = await findSeqBefore(db, row, offset);
      const events = await readEvents(db, row, { afterSeq, limit: firstEvents, maxBytes: firstBytes });
      const page = events.map((event) => {
        const told = toEvent(row, event);
        const drawn = event.stream === 'stdout' ? offset - event.stream_offset : 0;
        if (drawn <= 0) return told;
        const bytes = decodeStored(event);
        return {
          ...told,
          chunk: decodeText(bytes.subarray(drawn)),
          style: carryStyle(told.style, decodeText(bytes.subarray(0, drawn))),
        };
      });
      return { events: page, lastSeq: row.last_seq, afterSeq };
    },

    async input(jobId: JobId, data: string): Promise<void> {
      await findLive(jobId);
      await terminals.input(jobId, data);
    },

    async resize(jobId: JobId, cols: number, rows: number): Promise<void> {
      await findLive(jobId);
      await terminals.resize(jobId, cols, rows);
    },

    async openExternally(actor: Actor, jobId: JobId): Promise<Job> {
      const job = await findLive(jobId);
      await terminals.openExternally(jobId);
      await db.transaction().execute((trx) => audit.record(trx, actor, 'job.open-terminal', jobId));
      return job;
    },
  };
}
