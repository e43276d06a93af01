import { setTimeout as delay } from 'node:timers/promises';
import type { VmOperation } from '@vmo/contract';
import type { Cli } from '../cli.ts';
import { CliError } from '../exit-codes.ts';
import { createProgress } from '../output/progress.ts';
import { durationWords, listWords } from '../output/words.ts';

const everyMs = 250;

const isOver = ({ status }: VmOperation): boolean => status === 'done' || status === 'failed';

/** Milliseconds that it took. */
const timeOf = ({ startedAt, finishedAt }: VmOperation): number | null =>
  startedAt === null || finishedAt === null ? null : Date.parse(finishedAt) - Date.parse(startedAt);

/**
 * Waits until all are done, and says of each what came of it.
 * @throws CliError failed, when one of them failed
 */
export async function waitForOperations(
  cli: Cli,
  operations: readonly VmOperation[],
  isWaiting: boolean,
): Promise<void> {
  if (!isWaiting) {
    if (cli.output === 'json') await cli.printJson(operations);
    else await cli.print(...operations.map(({ id, vmName, kind }) => `${vmName}: ${kind} is queued (${id})`));
    return;
  }
  const progress = createProgress(cli);
  let rows = [...operations];
  try {
    while (!rows.every(isOver)) {
      const open = rows.filter((row) => !isOver(row));
      progress.say(`${open[0]?.kind ?? ''} ${listWords(open.map(({ vmName }) => vmName).slice(0, 3))}`);
      await delay(everyMs);
      rows = await Promise.all(
        rows.map(async (row) =>
          isOver(row)
            ? row
            : (await cli.client().call('getOperation', { params: { operationId: row.id } })).operation,
        ),
      );
    }
  } finally {
    progress.end();
  }
  if (cli.output === 'json') await cli.printJson(rows);
  else {
    for (const row of rows.filter(({ status }) => status === 'done')) {
      const result = row.result === null || row.result === '' ? '' : `: ${row.result}`;
      await cli.print(
        `${row.vmName}: ${row.kind} ${cli.paint.good('done')} in ${durationWords(timeOf(row))}${result}`,
      );
    }
  }
  const failed = rows.filter(({ status }) => status === 'failed');
  if (failed.length === 0) return;
  const words = failed.map(
    ({ vmName, kind, result }) => `${vmName}: ${kind} failed: ${result ?? 'no reason is known'}`,
  );
  throw new CliError(words[0] ?? '', 1, { hints: words.slice(1) });
}
