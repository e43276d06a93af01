import { setTimeout as delay } from 'node:timers/promises';
import { widthOf, type Cli } from '../cli.ts';
import { write } from '../world.ts';
import { csvLines, cut, tableLines, type Column } from './table.ts';

/** A change is told by the server; should it be missed, this is how old a list can get. */
const everyMs = 5_000;
/** Many changes at once are shown together. */
const gatherMs = 200;

export interface WatchOptions<T> {
  columns: readonly Column<T>[];
  read: () => Promise<readonly T[]>;
  /** What tells rows apart, and whether one has changed. */
  key: (row: T) => string;
  version: (row: T) => string;
  /** Calls the listener at every change; returns the way to stop. */
  onChange: (listener: () => void) => () => void;
}

/**
 * Shows a list again whenever it changes, until the program is ended. On a terminal in place; elsewhere a line for each
 * row that is new or has changed, and with `--output json` one object a line.
 */
export async function watchList<T>(cli: Cli, options: WatchOptions<T>): Promise<void> {
  const { stdout } = cli.world;
  const isInPlace = stdout.isTTY && cli.output === 'table';
  const seen = new Map<string, string>();
  const changes = createBell();
  const stop = options.onChange(changes.ring);
  try {
    for (let isFirst = true; ; isFirst = false) {
      const rows = await options.read();
      if (isInPlace) await draw(cli, options.columns, rows);
      else {
        const changed = rows.filter((row) => seen.get(options.key(row)) !== options.version(row));
        for (const row of changed) seen.set(options.key(row), options.version(row));
        await printChanged(cli, options.columns, changed, isFirst);
      }
      await changes.heard(everyMs);
      await delay(gatherMs);
    }
  } finally {
    stop();
  }
}

/** Remembers that it was rung, also while nobody listened. */
function createBell() {
  let wasRung = false;
  let wake = (): void => undefined;
  return {
    ring(): void {
      wasRung = true;
      wake();
    },
    /** Resolves when it is rung, or has been since the last time; after so long in any case. */
    async heard(ms: number): Promise<void> {
      if (!wasRung) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, ms);
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
      wasRung = false;
    },
  };
}

async function draw<T>(cli: Cli, columns: readonly Column<T>[], rows: readonly T[]): Promise<void> {
  const { stdout } = cli.world;
  const height = Math.max(2, stdout.rows - 2);
  const lines = tableLines(columns, rows, widthOf(stdout), cli.paint.dim).slice(0, height);
  const more = rows.length - (lines.length - 1);
  const foot = `${String(rows.length)} shown${more > 0 ? `, ${String(more)} of them below` : ''}; Ctrl-C ends`;
  const width = widthOf(stdout) ?? 80;
  // Each line is wiped before it is written, and what was below after it: no flicker, and nothing stays behind.
  const body = [...lines, cli.paint.dim(cut(foot, width))].map((line) => `\x1b[K${line}`).join('\n');
  await write(stdout, `\x1b[H${body}\x1b[J\n`);
}

async function printChanged<T>(
  cli: Cli,
  columns: readonly Column<T>[],
  rows: readonly T[],
  isFirst: boolean,
): Promise<void> {
  if (cli.output === 'json') return cli.print(...rows.map((row) => JSON.stringify(row)));
  const lines =
    cli.output === 'csv' ? csvLines(columns, rows) : tableLines(columns, rows, null, (text) => text);
  return cli.print(...lines.slice(isFirst ? 0 : 1));
}
