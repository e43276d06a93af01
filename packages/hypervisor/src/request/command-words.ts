import type { RequestCommand } from '@vmo/contract';
import type { LogPlace } from '@vmo/execution';
import { appendFileSync, statSync } from 'node:fs';
import type { Report, ReportedCommand } from './report.ts';

const titleLength = 120;

/** `$ ` before a command, `> ` before its further lines, as a shell would show them. */
function typed({ run }: RequestCommand): string {
  const [first = '', ...more] = run.trimEnd().split('\n');
  return [`$ ${first}`, ...more.map((line) => `> ${line}`)].map((line) => `${line}\n`).join('');
}

const titleOf = ({ name, run }: RequestCommand): string =>
  name ?? (run.trim().split('\n')[0] ?? '').slice(0, titleLength);

/**
 * Writes the stream `command` of a run: what is run, and how it ended, each with its place in the output. All of it
 * follows from the plan and the report, so whoever comes after us goes on in the middle.
 */
export class CommandWords {
  readonly places: LogPlace[] = [];
  readonly #path: string;
  readonly #commands: readonly RequestCommand[];
  /** Several fold away, one by one. */
  readonly #folds: boolean;
  #written: number;
  #length = 0;
  /** Output of the commands that have ended. */
  #stdout = 0;
  #stderr = 0;
  /** Of the console: what was there when the report was read last. Null: it never was. */
  #console: number | null = null;
  #begun = 0;
  #ended = 0;

  constructor(path: string, commands: readonly RequestCommand[]) {
    this.#path = path;
    this.#commands = commands;
    this.#folds = commands.length > 1;
    this.#written = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  }

  /**
   * What the console says cannot be told apart from what the report says at the same moment: only what was there when the
   * report had no such line yet stands before it. So the last words of a guest that goes follow its last command.
   * @param console bytes of the console when the report had not been read yet
   * @param sizes what is in the spool now: where a command does not say how much it wrote, it is all of it
   */
  update(report: Report, console: number, sizes: () => { stdout: number; stderr: number }): void {
    const before = this.#console ?? console;
    this.#console = console;
    for (;;) {
      const command = report.commands[this.#ended];
      const planned = this.#commands[this.#ended];
      if (!command || !planned) return;
      if (this.#begun === this.#ended) {
        this.#begun += 1;
        this.#add(before, `${this.#folds ? `::group::${titleOf(planned)}\n` : ''}${typed(planned)}`);
      }
      const { end } = command;
      if (!end) return;
      this.#ended += 1;
      if (end.stdout === null || end.stderr === null) {
        const now = sizes();
        this.#stdout = Math.max(this.#stdout, now.stdout);
        this.#stderr = Math.max(this.#stderr, now.stderr);
      } else {
        this.#stdout += end.stdout;
        this.#stderr += end.stderr;
      }
      this.#add(before, `${this.#folds ? '::endgroup::\n' : ''}${endWords(command, end)}\n`);
    }
  }

  #add(boot: number, text: string): void {
    const bytes = Buffer.from(text);
    const fresh = bytes.subarray(Math.max(this.#written - this.#length, 0));
    this.#length += bytes.length;
    if (fresh.length > 0) appendFileSync(this.#path, fresh, { mode: 0o600 });
    this.#written = Math.max(this.#written, this.#length);
    this.places.push({ command: this.#length, stdout: this.#stdout, stderr: this.#stderr, boot });
  }
}

function endWords({ beganAt }: ReportedCommand, end: NonNullable<ReportedCommand['end']>): string {
  const seconds = Math.max(end.at - beganAt, 0).toFixed(2);
  const background = end.isLate ? '; something it started goes on' : '';
  return `exit ${end.code} after ${seconds} s${background}`;
}
