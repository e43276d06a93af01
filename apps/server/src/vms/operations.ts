import { setTimeout as delay } from 'node:timers/promises';
import { CodedError, type OperationId, type OperationKind, type VmId, type VmOperation } from '@vmo/contract';
import { isDatabaseUnavailable, type Database } from '@vmo/db';
import type { Kysely, Transaction } from 'kysely';
import { audit } from '../auth/index.ts';
import type { Actor } from '../kernel/actor.ts';
import { newId } from '../kernel/ids.ts';
import type { Logger } from '../kernel/logger.ts';
import { toCoded } from './errors.ts';
import * as repository from './operations-repository.ts';
import type { StoredOperation } from './operations-repository.ts';
import type { Telling } from './telling.ts';

/** Operations that work at once; one that waits for a guest does not count. */
const atOnce = 4;
const repeatMs = 1_000;

/** What an operation is carried out with. */
export interface Turn {
  operation: StoredOperation;
  actor: Actor;
  /** Carried out for the second time, since we ended in the middle of the first. */
  again: boolean;
  /** From here on it only waits, and lets others work. */
  waits(): void;
}

/** @returns what came of it, in words */
export type CarryOut = (turn: Turn) => Promise<string>;

export interface Carrier {
  carryOut: CarryOut;
  /** May be begun once more after we ended in the middle of it. */
  idempotent: boolean;
  /** Does not wait for its turn: it ends what has it. */
  urgent?: boolean;
}

export interface NewWork {
  vm: { id: VmId; name: string };
  kind: OperationKind;
  request?: object;
  detail?: string | null;
}

export interface OperationsDeps {
  db: Kysely<Database>;
  telling: Telling;
  carriers: Readonly<Record<OperationKind, Carrier>>;
  logger: Logger;
}

export type Operations = ReturnType<typeof createOperations>;

/** The queue of what people want done with machines: one at a time for each machine, in the order of asking. */
export function createOperations({ db, telling, carriers, logger }: OperationsDeps) {
  /** In order; the first of each machine is the one that has its turn. */
  const queues = new Map<VmId, StoredOperation[]>();
  const active = new Set<OperationId>();
  const waiters = new Map<OperationId, ((operation: VmOperation) => void)[]>();
  let working = 0;
  let stopped = false;

  function enter(operation: StoredOperation): void {
    const queue = queues.get(operation.vmId) ?? [];
    queue.push(operation);
    queues.set(operation.vmId, queue);
  }

  function leave(operation: StoredOperation): void {
    const rest = (queues.get(operation.vmId) ?? []).filter(({ id }) => id !== operation.id);
    if (rest.length > 0) queues.set(operation.vmId, rest);
    else queues.delete(operation.vmId);
  }

  /** Begins whatever can begin now. */
  function pump(): void {
    if (stopped) return;
    for (const queue of queues.values()) {
      const [first] = queue;
      for (const operation of queue) {
        if (active.has(operation.id)) continue;
        const urgent = carriers[operation.kind].urgent === true;
        if (!urgent && (operation !== first || working >= atOnce)) continue;
        begin(operation);
      }
    }
  }

  function begin(operation: StoredOperation): void {
    active.add(operation.id);
    working += 1;
    let counts = true;
    const waits = () => {
      if (!counts) return;
      counts = false;
      working -= 1;
      pump();
    };
    void work(operation, waits)
      .catch((error: unknown) => {
        logger.error({ err: error, operation: operation.id }, 'an operation was given up: this is a bug');
      })
      .finally(() => {
        active.delete(operation.id);
        leave(operation);
        waits();
        pump();
      });
  }

  /** A database that is away must not lose the end of what was done. */
  async function insist<T>(write: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await write();
      } catch (error) {
        if (stopped || !isDatabaseUnavailable(error)) throw error;
        await delay(repeatMs, undefined, { ref: false });
      }
    }
  }

  async function work(operation: StoredOperation, waits: () => void): Promise<void> {
    const again = operation.status === 'running';
    const begun = await insist(() =>
      repository.moveOperation(db, operation.id, {
        status: 'running',
        startedAt: new Date(operation.startedAt ?? Date.now()),
      }),
    );
    if (!begun) return;
    telling.operation(repository.withoutRequest(begun));
    const carrier = carriers[operation.kind];
    const actor: Actor = { name: operation.createdBy, sessionId: null, address: null };
    let end: { status: 'done' | 'failed'; result: string };
    try {
      if (again && !carrier.idempotent) {
        const words =
          'the cockpit ended in the middle of it: look at what the machine is now, then ask again';
        throw new CodedError('VM_WRONG_STATE', words);
      }
      const result = await carrier.carryOut({ operation: begun, actor, again, waits });
      end = { status: 'done', result };
    } catch (thrown) {
      // We are ending: the next process of ours goes on with it.
      if (stopped) return;
      end = { status: 'failed', result: wordsOf(thrown, operation) };
    }
    const finished = await insist(() =>
      repository.moveOperation(db, operation.id, { ...end, finishedAt: new Date() }),
    );
    if (!finished) return;
    const told = repository.withoutRequest(finished);
    telling.operation(told);
    for (const resolve of waiters.get(operation.id) ?? []) resolve(told);
    waiters.delete(operation.id);
  }

  function wordsOf(thrown: unknown, operation: StoredOperation): string {
    const error = toCoded(thrown);
    if (error instanceof CodedError) return error.message;
    logger.error(
      { err: error, operation: operation.id, kind: operation.kind },
      'an operation failed unexpectedly',
    );
    return 'something went wrong here: the server log says what';
  }

  return {
    /** Writes an operation in the caller's transaction, with its audit. Hand it to `take` after the commit. */
    async insert(trx: Transaction<Database>, actor: Actor, work: NewWork): Promise<StoredOperation> {
      const { vm, kind, request = {}, detail = null } = work;
      const operation = await repository.insertOperation(trx, {
        ...{ id: newId(), vmId: vm.id, vmName: vm.name, kind, request, detail },
        createdBy: actor.name,
      });
      await audit.record(trx, actor, `vm.${kind}`, vm.id, {
        operationId: operation.id,
        ...(detail === null ? {} : { detail }),
        ...request,
      });
      return operation;
    },

    /** Tells of what was inserted, and begins when it is its turn. */
    take(...inserted: StoredOperation[]): VmOperation[] {
      for (const operation of inserted) {
        enter(operation);
        telling.operation(repository.withoutRequest(operation));
      }
      pump();
      return inserted.map(repository.withoutRequest);
    },

    /** The operation when it has ended. */
    ended(id: OperationId): Promise<VmOperation> {
      return new Promise((resolve) => {
        waiters.set(id, [...(waiters.get(id) ?? []), resolve]);
      });
    },

    /** Whether anything is queued or under way for this machine. */
    isBusy: (vmId: VmId) => queues.has(vmId),

    /** Goes on with what was queued or under way when we ended. */
    async start(): Promise<void> {
      for (const operation of await repository.listOpen(db)) {
        enter(operation);
      }
      pump();
    },

    stop(): void {
      stopped = true;
    },
  };
}
