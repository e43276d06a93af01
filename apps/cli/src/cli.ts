import { connectJobs, createClient, type Client, type JobsConnection } from '@vmo/client';
import type { Command } from 'commander';
import { CliError, exitCodes } from './exit-codes.ts';
import { findServer, type ServerAddress } from './find-server.ts';
import { createPaint, wantsColor, type Paint } from './output/paint.ts';
import { csvLines, tableLines, type Column } from './output/table.ts';
import { write, type World } from './world.ts';

export const outputForms = ['table', 'json', 'csv'] as const;
export type OutputForm = (typeof outputForms)[number];

/** What every command works with. */
export interface Cli {
  readonly world: World;
  readonly output: OutputForm;
  /** For standard output. */
  readonly paint: Paint;
  /** For standard error. */
  readonly errorPaint: Paint;
  /** Found once, at the first question. */
  server(): ServerAddress;
  client(): Client;
  /** A socket of its own; close it. */
  connect(): JobsConnection;
  /** Lines on standard output. */
  print(...lines: readonly string[]): Promise<void>;
  /** One JSON document on standard output. */
  printJson(value: unknown): Promise<void>;
  /** A list in the form that was asked for; `json` is what the server answered. */
  printList<T>(columns: readonly Column<T>[], rows: readonly T[], json?: readonly unknown[]): Promise<void>;
  /** Pairs of a name and a value, one a line. */
  printFacts(facts: readonly (readonly [string, string | null])[], json: unknown): Promise<void>;
  /** A line on standard error, for people. */
  note(line: string): void;
}

/** Options that every command takes. */
export interface GlobalOptions {
  output?: OutputForm;
  color?: boolean;
  url?: string;
}

export function createCli(world: World, options: GlobalOptions): Cli {
  const { stdout, stderr, env } = world;
  const output = options.output ?? 'table';
  const isColorAllowed = options.color !== false;
  const paint = createPaint(output === 'table' && wantsColor(stdout, env, isColorAllowed));
  const errorPaint = createPaint(wantsColor(stderr, env, isColorAllowed));
  let address: ServerAddress | null = null;
  let rest: Client | null = null;

  const cli: Cli = {
    world,
    output,
    paint,
    errorPaint,
    server: () => (address ??= findServer(world, options.url)),
    client: () => (rest ??= createClient(credentials(cli.server()))),
    connect: () => connectJobs(credentials(cli.server())),
    print: (...lines) => write(stdout, lines.map((line) => `${line}\n`).join('')),
    printJson: (value) => cli.print(JSON.stringify(value, null, 2)),
    printList(columns, rows, json = rows) {
      switch (output) {
        case 'json':
          return cli.printJson(json);
        case 'csv':
          return cli.print(...csvLines(columns, rows));
        case 'table':
          return cli.print(...tableLines(columns, rows, widthOf(stdout), paint.dim));
      }
    },
    printFacts(facts, json) {
      if (output === 'json') return cli.printJson(json);
      const known = facts.flatMap(([name, value]) =>
        value === null || value === '' ? [] : [{ name, value }],
      );
      if (output === 'csv') {
        return cli.print(
          ...csvLines<{ name: string; value: string }>(
            [
              { title: 'name', value: ({ name }) => name },
              { title: 'value', value: ({ value }) => value },
            ],
            known,
          ),
        );
      }
      const width = Math.max(...known.map(({ name }) => name.length));
      return cli.print(...known.map(({ name, value }) => `${paint.dim(name.padEnd(width))}  ${value}`));
    },
    // On a terminal, a line of progress may stand there.
    note: (line) => void stderr.write(`${stderr.isTTY ? '\r\x1b[K' : ''}${line}\n`),
  };
  return cli;
}

/** @throws CliError usage: what a command wrote is no table */
export function requireNoCsv({ output }: Cli): void {
  if (output !== 'csv') return;
  throw new CliError('a log has no form as CSV: use --output json, an object a line', exitCodes.usage);
}

/** Columns of the terminal; null where there is none. */
export const widthOf = (stream: { isTTY?: boolean; columns?: number }): number | null =>
  stream.isTTY === true && stream.columns !== undefined && stream.columns > 0 ? stream.columns : null;

function credentials({ url, token }: ServerAddress) {
  return token === null ? { baseUrl: url } : { baseUrl: url, token };
}

/** The options of a command together with those of every command. */
export function cliOf(world: World, command: Command): Cli {
  return createCli(world, command.optsWithGlobals<GlobalOptions>());
}
