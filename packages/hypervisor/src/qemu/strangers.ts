import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import type { Stranger } from '../driver.ts';
import { printable } from '../program.ts';

const maxWords = 300;

/**
 * QEMU's processes on this host, but those with these pids. Found by their program, since a name can be anything; what
 * may not be looked at (another user's, where we are not root) is found by its name.
 */
export function findStrangers(ours: ReadonlySet<number>, root = '/proc'): Stranger[] {
  if (!existsSync(root)) return []; // not Linux: nobody to ask
  return readdirSync(root).flatMap((entry): Stranger[] => {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || ours.has(pid)) return [];
    try {
      const directory = `${root}/${entry}`;
      const argv = readFileSync(`${directory}/cmdline`, 'utf8').split('\0').slice(0, -1);
      if (argv.length === 0) return []; // a zombie, or the kernel's own
      const program = readProgram(directory) ?? argv[0] ?? '';
      if (!/^qemu-(system-|kvm)/.test(basename(program))) return [];
      const words = argv.slice(1).join(' ');
      const shown = words.length > maxWords ? `${words.slice(0, maxWords)} …` : words;
      const evidence = `${program} of user ${statSync(directory).uid}: ${shown}`;
      return [{ pid, name: printable(nameIn(argv)), evidence: printable(evidence) }];
    } catch {
      return []; // it has ended meanwhile
    }
  });
}

function readProgram(directory: string): string | null {
  try {
    return readlinkSync(`${directory}/exe`).replace(/ \(deleted\)$/, '');
  } catch {
    return null;
  }
}

/** As in `-name guest=NAME,…` or `-name NAME`. */
function nameIn(argv: readonly string[]): string {
  const at = argv.indexOf('-name');
  const words = at < 0 ? undefined : argv[at + 1];
  return words === undefined
    ? 'no name'
    : (/^(?:guest=)?((?:[^,]|,,)*)/.exec(words)?.[1] ?? words).replaceAll(',,', ',');
}
