import {
  CodedError,
  type ErrorCode,
  type OperationId,
  type OperationKind,
  type VmId,
  type VmOperation,
} from '@vmo/contract';
import type { Database } from '@vmo/db';
import type { Kysely, Transaction } from 'kysely';
import { audit } from '../auth/index.ts';
import type { Actor } from '../kernel/actor.ts';
import { newId } from '../kernel/ids.ts';
import type { Logger } from '../kernel/logger.ts';
import { toCoded } from './errors.ts';
import { insist } from './insist.ts';
import * as repository from './operations-repository.ts';
import type { StoredOperation } from './operations-repository.ts';
import type { Telling } from './telling.ts';

/** Operations that work at once; one that waits for a guest does not count. */
const atOnce = 4;

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
  /** Other machines with which nothing else may be done meanwhile. */
  holds?(operation: StoredOperation): VmId[];
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
  /** In order; the first of each machine is the one that has its turn. One that holds several stands in each of them. */
  const queues = new Map<VmId, StoredOperation[]>();
  const active = new Set<OperationId>();
  let working = 0;
  let stopped = false;

  const machinesOf = (operation: StoredOperation): VmId[] => [
    operation.vmId,
    ...(carriers[operation.kind].holds?.(operation) ?? []),
  ];

  /** Into all its queues at once: so any two stand in the same order wherever they meet, and none waits in a ring. */
  function enter(operation: StoredOperation): void {
    for (const vmId of machinesOf(operation)) {
      const queue = queues.get(vmId) ?? [];
      queue.push(operation);
      queues.set(vmId, queue);
    }
  }

  function leave(operation: StoredOperation): void {
    for (const vmId of machinesOf(operation)) {
      const rest = (queues.get(vmId) ?? []).filter(({ id }) => id !== operation.id);
      if (rest.length > 0) queues.set(vmId, rest);
      else queues.delete(vmId);
    }
  }

  const hasItsTurn = (operation: StoredOperation): boolean =>
    machinesOf(operation).every((vmId) => queues.get(vmId)?.[0] === operation);

  /** Begins whatever can begin now. */
  function pump(): void {
    if (stopped) return;
    for (const queue of queues.values()) {
      for (const operation of queue) {
        if (active.has(operation.id)) continue;
        const urgent = carriers[operation.kind].urgent === true;
        if (!urgent && (working >= atOnce || !hasItsTurn(operation))) continue;
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

  async function work(operation: StoredOperation, waits: () => void): Promise<void> {
    const again = operation.status === 'running';
    const begun = await insist(
      () =>
        repository.moveOperation(db, operation.id, {
          status: 'running',
          startedAt: new Date(operation.startedAt ?? Date.now()),
        }),
      () => stopped,
    );
    if (!begun) return;
    telling.operation(repository.withoutRequest(begun));
    const carrier = carriers[operation.kind];
    const actor: Actor = { name: operation.createdBy, sessionId: null, address: null };
    let end: { status: 'done' | 'failed'; result: string; code: ErrorCode | null };
    try {
      if (again && !carrier.idempotent) {
        const words =
          'the cockpit ended in the middle of it: look at what the machine is now, then ask again';
        throw new CodedError('VM_WRONG_STATE', words);
      }
      const result = await carrier.carryOut({ operation: begun, actor, again, waits });
      end = { status: 'done', result, code: null };
    } catch (thrown) {
      // We are ending: the next process of ours goes on with it.
      if (stopped) return;
      end = { status: 'failed', ...failureOf(thrown, operation) };
    }
    const finished = await insist(
      () => repository.moveOperation(db, operation.id, { ...end, finishedAt: new Date() }),
      () => stopped,
    );
    if (finished) telling.operation(repository.withoutRequest(finished));
  }

  function failureOf(thrown: unknown, operation: StoredOperation): { result: string; code: ErrorCode } {
    const error = toCoded(thrown);
    if (error instanceof CodedError) return { result: error.message, code: error.code };
    logger.error(
      { err: error, operation: operation.id, kind: operation.kind },
      'an operation failed unexpectedly',
    );
    return { result: 'something went wrong here: the server log says what', code: 'INTERNAL' };
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

    /** The same for many machines, in two statements. */
    async insertMany(
      trx: Transaction<Database>,
      actor: Actor,
      kind: OperationKind,
      vms: readonly NewWork['vm'][],
    ): Promise<StoredOperation[]> {
      const asked = vms.map(({ id, name }) => ({ id: newId(), vmId: id, vmName: name }));
      const operations = await repository.insertOperations(trx, kind, actor.name, asked);
      const entries = operations.map(({ id, vmId }) => ({ subject: vmId, detail: { operationId: id } }));
      await audit.recordMany(trx, actor, `vm.${kind}`, entries);
      return operations;
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
