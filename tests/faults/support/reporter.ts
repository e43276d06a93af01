import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Reporter, TestCase } from 'vitest/node';
import type { Figures } from './figures.ts';

const directory = join(import.meta.dirname, '..', '..', '..', '.cache', 'test');

interface Row {
  name: string;
  state: string;
  seconds: number;
  figures: Figures;
}

const shown = (figures: Figures) =>
  Object.entries(figures)
    .map(([name, value]) => `${name} ${value}`)
    .join(' · ');

/** Prints what each fault test did and found, a table of all at the end, and keeps it in .cache/test/faults.json. */
export default class FaultReporter implements Reporter {
  readonly #rows: Row[] = [];

  onTestCaseResult(test: TestCase): void {
    const row: Row = {
      name: test.name,
      state: test.result().state,
      seconds: Math.round((test.diagnostic()?.duration ?? 0) / 100) / 10,
      figures: test.meta().figures ?? {},
    };
    this.#rows.push(row);
    console.log(`${row.state === 'passed' ? '✓' : '✕'} ${row.name}: ${shown(row.figures)}`);
  }

  onTestRunEnd(): void {
    mkdirSync(directory, { recursive: true });
    const report = { at: new Date().toISOString(), node: process.version, tests: this.#rows };
    writeFileSync(join(directory, 'faults.json'), `${JSON.stringify(report, null, 2)}\n`);
    const cells = this.#rows.map(({ name, state, seconds, figures }) => [
      name.split(':')[0] ?? name,
      state,
      seconds.toFixed(1),
      shown(figures),
    ]);
    const head = ['fault', 'result', 's', 'did and found'];
    const widths = head.map((title, column) =>
      Math.max(title.length, ...cells.map((row) => row[column]?.length ?? 0)),
    );
    const line = (row: readonly string[]) =>
      `| ${row.map((cell, column) => (column < row.length - 1 ? cell.padEnd(widths[column] ?? 0) : cell)).join(' | ')} |`;
    const rule = ['---', '---', '---', '---'];
    console.log(['', line(head), line(rule), ...cells.map(line), ''].join('\n'));
  }
}
