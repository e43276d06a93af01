import { setTimeout as delay } from 'node:timers/promises';
import {
  CodedError,
  isFinal,
  type Job,
  type JobId,
  type SocketAnswer,
  type SocketCommandName,
  type SocketPayload,
} from '@vmo/contract';
import { holds, permit } from '../auth/index.ts';
import type { Jobs } from '../jobs/index.ts';
import type { Vms } from '../vms/index.ts';
import { tellEnd, type Client } from './client.ts';
import type { TerminalControl } from './terminal-control.ts';

/** What a command leads to: its acknowledgement, and what may be sent only after that. */
export interface CommandResult<N extends SocketCommandName> {
  answer: SocketAnswer<N>;
  after?: () => void;
}

export type Commands = {
  [N in SocketCommandName]: (
    client: Client,
    payload: SocketPayload<N>,
  ) => CommandResult<N> | Promise<CommandResult<N>>;
};

const storePollMs = 10;
const storeTimeoutMs = 5_000;
const nothing = { answer: {} };

export interface CommandsDeps {
  jobs: Jobs;
  vms: Pick<Vms, 'input'>;
  /** Who types into which terminal. */
  control: TerminalControl;
  /** Who types into the serial console of which machine. */
  consoles: TerminalControl;
}

/** What happens on each socket event: one call into a domain. */
export function createCommands({ jobs, vms, control, consoles }: CommandsDeps): Commands {
  async function subscribe(
    client: Client,
    { jobId, afterSeq = 0, newestBytes, screen: wantsScreen = false }: SocketPayload<'job:subscribe'>,
    /** Its row, where it was made just now: nothing has been written yet. */
    created?: Job,
  ): Promise<CommandResult<'job:subscribe'>> {
    // First listen, then look: what happens in between is noted by the delivery.
    const delivery = client.follow(jobId);
    try {
      const job = created ?? (await jobs.get(jobId));
      const isTerminal = job.type === 'terminal';
      const live = isTerminal && wantsScreen ? await jobs.terminal.screen(jobId) : null;
      if (live) await untilStored(jobId, live.offset);
      const first = live ? await jobs.terminal.eventsAfter(jobId, live.offset) : null;
      const newest = newestBytes === undefined ? null : await jobs.seqBeforeNewest(jobId, newestBytes);
      if (wantsScreen && client.socket.connected) {
        if (isTerminal) control.enter(jobId, client);
        // Who may only look must not stand in the way of who may type.
        if (job.type === 'vm' && !isFinal(job.status) && holds(client.principal, 'vms:console'))
          consoles.enter(jobId, client);
      }
      return {
        answer: {
          job,
          // Output is stored before it is drawn, so the screen may be behind the log: what it does not show follows.
          lastSeq: first?.afterSeq ?? job.lastSeq,
          ...(newest === null ? {} : { afterSeq: newest }),
          ...(wantsScreen ? { screen: live?.screen ?? null } : {}),
          ...(isTerminal ? { inControl: control.isInControl(jobId, client) } : {}),
          ...(job.type === 'vm' ? { inControl: consoles.isInControl(jobId, client) } : {}),
        },
        after: () => {
          for (const event of first?.events ?? []) client.sendEvent(event);
          const from = first ? (first.events.at(-1)?.seq ?? first.afterSeq) : (newest ?? afterSeq);
          delivery.start(from, Math.max(job.lastSeq, from));
          tellEnd(delivery, job);
        },
      };
    } catch (error) {
      client.unfollow(jobId, delivery);
      throw error;
    }
  }

  /**
   * The screen may be ahead of the log by what is on its way into the database; what follows the screen can only be
   * told apart once the log has caught up. That takes milliseconds, unless the database is away.
   */
  async function untilStored(jobId: JobId, offset: number): Promise<void> {
    const deadline = Date.now() + storeTimeoutMs;
    while ((await jobs.terminal.storedBytes(jobId)) < offset) {
      if (Date.now() > deadline)
        throw new CodedError('DATABASE_UNAVAILABLE', 'the log is not stored yet: try again');
      await delay(storePollMs);
    }
  }

  async function requireTerminal(jobId: JobId): Promise<void> {
    const job = await jobs.get(jobId);
    if (job.type === 'vm') throw new CodedError('NOT_IN_CONTROL', 'take control of the console first');
    if (job.type !== 'terminal') throw new CodedError('NOT_A_TERMINAL', `job ${jobId} is not a terminal`);
  }

  /** In the order in which it came, as that of terminals. */
  function typeIntoConsole(client: Client, jobId: JobId, data: string) {
    permit(client.principal, 'vms:console');
    const turn = client.inputQueue.then(async () => {
      if (!consoles.isInControl(jobId, client)) {
        throw new CodedError('NOT_IN_CONTROL', 'somebody else types into this console: take control first');
      }
      await vms.input(jobId, data);
      return nothing;
    });
    client.inputQueue = turn.catch(() => undefined);
    return turn;
  }

  /** Input and sizes take effect in the order in which they came, each answered by itself. */
  function inTurn(client: Client, jobId: JobId, act: () => Promise<void>) {
    const turn = client.inputQueue.then(async () => {
      if (!control.isInControl(jobId, client)) {
        await requireTerminal(jobId);
        // Where nobody types, whoever does is in control.
        if (client.socket.connected && !control.isControlled(jobId)) control.enter(jobId, client);
      }
      if (!control.isInControl(jobId, client)) {
        throw new CodedError('NOT_IN_CONTROL', 'somebody else types into this terminal: take control first');
      }
      await act();
      return nothing;
    });
    client.inputQueue = turn.catch(() => undefined);
    return turn;
  }

  return {
    'execute-command': async (client, submission) => {
      const { job, created } = await jobs.submit(client.principal.actor, submission);
      const { answer, after } = await subscribe(client, { jobId: job.id }, created ? job : undefined);
      return { answer: { job: answer.job }, ...(after && { after }) };
    },
    'job:subscribe': subscribe,
    'job:unsubscribe': (client, { jobId }) => {
      client.unfollow(jobId);
      control.leave(jobId, client);
      consoles.leave(jobId, client);
      return nothing;
    },
    'job:ack': (client, { jobId, seq }) => {
      client.acknowledged(jobId, seq);
      return nothing;
    },
    'job:cancel': async (client, { jobId }) => ({
      answer: { job: await jobs.cancel(client.principal.actor, jobId) },
    }),
    'job:input': (client, { jobId, data }) =>
      consoles.isInControl(jobId, client)
        ? typeIntoConsole(client, jobId, data)
        : inTurn(client, jobId, () => jobs.terminal.input(jobId, data)),
    'job:resize': (client, { jobId, cols, rows }) =>
      inTurn(client, jobId, async () => {
        await jobs.terminal.resize(jobId, cols, rows);
        control.resized(jobId, client, cols, rows);
      }),
    'job:take-control': async (client, { jobId }) => {
      const job = await jobs.get(jobId);
      if (job.type === 'vm') {
        permit(client.principal, 'vms:console');
        if (isFinal(job.status)) throw new CodedError('JOB_NOT_RUNNING', 'this run of the machine has ended');
        if (client.socket.connected) consoles.take(jobId, client);
        return nothing;
      }
      await requireTerminal(jobId);
      if (client.socket.connected) control.take(jobId, client);
      return nothing;
    },
    'jobs:watch': (client, payload) => {
      client.watchesAll = payload?.watch ?? true;
      return nothing;
    },
  };
}
