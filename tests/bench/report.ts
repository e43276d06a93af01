import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { table, type Summary } from './figures.ts';

const root = join(import.meta.dirname, '..', '..');
const begin = '<!-- figures: written by `npm run bench -- --write-docs` -->';
const end = '<!-- /figures -->';

export interface Report {
  at: string;
  machine: string;
  loadBefore: number;
  failures: string[];
  figures: Summary[];
}

export async function machineWords(): Promise<string> {
  const { stdout } = await promisify(execFile)('uname', ['-sr']);
  const memory = `${(totalmem() / 2 ** 30).toFixed(0)} GiB`;
  return `${String(cpus().length)} × ${cpus()[0]?.model.trim() ?? ''}, ${memory}, ${stdout.trim()}, Node ${process.version}`;
}

/** The report as Markdown: the table, and below it what is needed to judge it. */
export function words({ at, machine, loadBefore, failures, figures }: Report): string {
  const rest = failures.map((failure) => `\n\nNot measured: ${failure}`).join('');
  return `${table(figures)}\n\nMeasured ${at.slice(0, 10)} on ${machine}; load average before: ${loadBefore.toFixed(1)}.${rest}`;
}

export async function writeReport(report: Report): Promise<string> {
  const path = join(root, '.cache', 'bench', 'figures.json');
  await mkdir(join(path, '..'), { recursive: true });
  await writeFile(path, JSON.stringify(report, null, 2));
  return path;
}

/** Puts the table in the place of the old one in docs/performance.md. */
export async function writeDocs(report: Report): Promise<void> {
  const path = join(root, 'docs', 'performance.md');
  const text = await readFile(path, 'utf8');
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from === -1 || to < from) throw new Error(`${path} has no place for the figures`);
  await writeFile(path, `${text.slice(0, from)}${begin}\n\n${words(report)}\n\n${text.slice(to)}`);
}
