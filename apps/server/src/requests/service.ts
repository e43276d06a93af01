import {
  allowedRequestChanges,
  BatchId,
  CodedError,
  commandList,
  isFinal,
  JobId,
  type BatchAnswer,
  type Job,
  type JobStatus,
  type MachineRequest,
  type NewBatch,
  NewRequest,
  type RequestAnswer,
  type RequestId,
  type RunPlan,
} from '@vmo/contract';
import type { Database } from '@vmo/db';
import type { Kysely } from 'kysely';
import type { z } from 'zod';
import type { Jobs, MachineRun } from '../jobs/index.ts';
import type { Actor } from '../kernel/actor.ts';
import { newId } from '../kernel/ids.ts';
import type { ThrowAway, Vms } from '../vms/index.ts';
import * as repository from './repository.ts';
import { noSuchRequest } from './errors.ts';

type Submission = z.output<typeof NewRequest>;

interface PreparedRun extends MachineRun {
  row: repository.NewRequestRow;
}

export interface RequestLimits {
  defaultTimeoutSeconds: number;
  maxTimeoutSeconds: number;
  /** From the start of a machine until it must be ready. */
  bootTimeoutSeconds: number;
  keepFailedHours: number;
  /** Of one request, brought from another machine. */
  maxKeptBytes: number;
  maxArtifactBytes: number;
}

export interface RequestServiceDeps {
  db: Kysely<Database>;
  jobs: Jobs;
  throwAway: Vms['throwAway'];
  limits: RequestLimits;
}

/** A machine that is to be ready when its time is over has no time left for its commands. */
const bootShare = 0.9;
const maxShownCommand = 2_000;
/** Requests of a batch that are sent to the database at once, and about how many bytes of files with them. */
const maxPortion = 100;
const maxPortionBytes = 8 * 1024 * 1024;

/** Keys of requests and of plain jobs are not each other's. */
const keyOf = (key: string) => `request:${key}`;

export function createRequestService({ db, jobs, throwAway, limits }: RequestServiceDeps) {
  function timeoutOf(wanted: number | undefined): number {
    const timeout = wanted ?? limits.defaultTimeoutSeconds;
    if (timeout <= limits.maxTimeoutSeconds) return timeout;
    const message = `must be at most ${limits.maxTimeoutSeconds} seconds (VMO_MAX_TIMEOUT)`;
    throw new CodedError('INVALID_INPUT', `timeout ${message}`, { issues: [{ path: 'timeout', message }] });
  }

  /** @throws CodedError INVALID_INPUT */
  function loginOf({ channel, login }: Submission, machine: ThrowAway): MachineRequest['login'] {
    const isSsh = channel === 'ssh';
    if (isSsh && machine.network.mode !== 'user') {
      const message = `cannot be ssh: the machine has the network mode ${machine.network.mode}, and SSH needs user`;
      throw new CodedError('INVALID_INPUT', `channel ${message}`, {
        issues: [{ path: 'channel', message }],
      });
    }
    const { user, password = null } = login ?? machine.login ?? { user: isSsh ? 'root' : null };
    return user === null ? null : { user, password };
  }

  const machineOf = ({ vm_name: name, cpus, memory_mib: memoryMib }: Submission): Promise<ThrowAway> =>
    throwAway.plan(name, { ...(cpus && { cpus }), ...(memoryMib && { memoryMib }) });

  /** What of a submission becomes a job, with what is kept of it beside that. */
  function prepare(submission: Submission, machine: ThrowAway, batchId: BatchId | null): PreparedRun {
    const id = JobId.parse(newId());
    const timeout = timeoutOf(submission.timeout);
    const spec = machine.spec(id, {
      readySeconds: Math.min(limits.bootTimeoutSeconds, timeout * bootShare),
      channel: submission.channel ?? null,
      login: loginOf(submission, machine),
      warm: submission.warm,
      keepOnFailure: submission.keep_on_failure,
      maxArtifactBytes: limits.maxArtifactBytes,
    });
    const { priority, retry: retries, hold: isHeld, idempotency_key: key } = submission;
    const idempotencyKey = key === undefined ? null : keyOf(key);
    const plan = toPlan(submission);
    return {
      ...{ id, vmId: null, spec, command: toWords(submission) },
      request: { plan, timeout, priority, retries, isHeld, idempotencyKey },
      row: {
        ...{ id, vmName: submission.vm_name, vmKind: machine.kind, submission, batchId },
        labels: submission.labels,
      },
    };
  }

  /** All of them or none; each portion goes to the database at once. */
  const store = (actor: Actor, portions: Iterable<readonly PreparedRun[]>) =>
    jobs.submitMachines(actor, portions, (trx, created) =>
      repository.insertRequests(
        trx,
        created.map(({ row }) => row),
      ),
    );

  async function submit(actor: Actor, submission: Submission): Promise<RequestAnswer & { created: boolean }> {
    timeoutOf(submission.timeout);
    const prepared = prepare(submission, await machineOf(submission), null);
    const [stored] = await store(actor, [[prepared]]);
    if (!stored) throw new Error('nothing was stored of a request');
    const { job, created } = stored;
    const message = created
      ? job.status === 'hold'
        ? 'Request created, and held until it is released'
        : 'Request created successfully'
      : 'This idempotency key was used before: this is the request of then';
    return { uuid: job.id, status: job.status, message, created };
  }

  async function find(id: RequestId): Promise<Job> {
    if ((await repository.findBatchOf(db, id)) === undefined) throw noSuchRequest(id);
    return jobs.get(id);
  }

  return {
    submit,

    async submitBatch(actor: Actor, batch: z.output<typeof NewBatch>): Promise<BatchAnswer> {
      const { vm_names: names, commands, idempotency_key: key, ...options } = batch;
      timeoutOf(options.timeout);
      const machines = new Map<string, ThrowAway>();
      for (const name of new Set(names)) {
        const one = { ...options, vm_name: name, commands: 'true' };
        const machine = await machineOf(one);
        loginOf(one, machine);
        machines.set(name, machine);
      }
      const known =
        key === undefined ? undefined : await repository.findBatchByKey(db, actor.name, keyOf(`${key}:0`));
      const id = known ?? BatchId.parse(newId());
      const cells = names.flatMap((name) => commands.map((one, index) => ({ name, one, index })));
      const prepareCell = ({ name, one }: (typeof cells)[number], at: number) => {
        const machine = machines.get(name);
        if (!machine) throw new Error(`the machine ${name} was not looked at`);
        const submission = {
          ...{ ...options, vm_name: name, commands: one },
          ...(key !== undefined && { idempotency_key: `${key}:${at}` }),
        };
        return prepare(submission, machine, id);
      };
      // The files of a batch are stored with each of its requests: made when their turn comes, and forgotten after it.
      const size = Math.ceil(maxPortionBytes / JSON.stringify(options).length);
      const portion = Math.min(size, maxPortion);
      function* portions() {
        for (let at = 0; at < cells.length; at += portion)
          yield cells.slice(at, at + portion).map((cell, offset) => prepareCell(cell, at + offset));
      }
      const stored = await store(actor, portions());
      const requests = cells.flatMap(({ name, index }, at) => {
        const job = stored[at]?.job;
        return job ? [{ uuid: job.id, vm_name: name, commands: index, status: job.status }] : [];
      });
      return { batch: id, requests, message: `${requests.length} requests created` };
    },

    /** The same again, with everything that it was given. */
    async rerun(actor: Actor, id: RequestId): Promise<RequestAnswer> {
      const stored = await repository.findSubmission(db, id);
      if (stored === undefined) throw noSuchRequest(id);
      const again = { ...NewRequest.parse(stored), hold: false };
      delete again.idempotency_key;
      const { uuid, status, message } = await submit(actor, again);
      return { uuid, status, message };
    },

    /** @throws CodedError REQUEST_NOT_FOUND, REQUEST_WRONG_STATE which names what is allowed */
    async changeStatus(actor: Actor, id: RequestId, status: JobStatus): Promise<RequestAnswer> {
      const job = await find(id);
      const allowed = allowedRequestChanges[job.status];
      if (!allowed.includes(status)) {
        const words = allowed.length > 0 ? `its state allows ${allowed.join(', ')}` : 'it is final';
        throw new CodedError(
          'REQUEST_WRONG_STATE',
          `the request is ${job.status} and cannot become ${status}: ${words}`,
        );
      }
      const changed =
        status === 'cancelled'
          ? await jobs.cancel(actor, id)
          : await jobs.setHold(actor, id, status === 'hold');
      return { uuid: id, status: changed.status, message: wordsFor(status, changed) };
    },

    /** Cancels one that goes on, deletes one that has ended. */
    async remove(actor: Actor, id: RequestId): Promise<RequestAnswer & { deleted: boolean }> {
      const job = await find(id);
      if (!isFinal(job.status)) {
        const cancelled = await jobs.cancel(actor, id);
        const message = wordsFor('cancelled', cancelled);
        return { uuid: id, status: cancelled.status, message, deleted: false };
      }
      await jobs.remove(actor, id);
      await throwAway.discard(id);
      return { uuid: id, status: job.status, message: 'Request deleted, with its log', deleted: true };
    },
  };
}

function wordsFor(asked: JobStatus, { status }: Job): string {
  if (asked === 'hold') return 'Request held until it is released';
  if (asked === 'pending') return 'Request released';
  return isFinal(status) ? `Request ${status}` : 'Cancel requested: its machine is being ended';
}

function toPlan(submission: Submission): RunPlan {
  return {
    commands: commandList(submission.commands),
    stopOnFailure: submission.stop_on_failure,
    env: submission.env,
    files: submission.files.map(({ path, mode, content, content_base64: base64 }) => {
      const bytes = content === undefined ? Buffer.from(base64 ?? '', 'base64') : Buffer.from(content);
      return { path, mode, base64: bytes.toString('base64') };
    }),
    artifacts: submission.artifacts,
  };
}

/** As it stands in the history, on one line. */
function toWords({ vm_name: name, commands }: Submission): string {
  const words = commandList(commands)
    .map(({ run }) => run.trim().replaceAll(/\s*\n\s*/g, '; '))
    .join(' · ');
  return `${name}: ${words}`.slice(0, maxShownCommand).toWellFormed();
}
