import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { promisify } from 'node:util';

const execute = promisify(execFile);

/** A pid alone lies, since pids come round again: with start time and boot id it names one process for ever. */
export interface ProcessIdentity {
  pid: number;
  /** As the platform gives it: clock ticks since boot (Linux), a date (elsewhere). Compared, never calculated with. */
  start: string;
  boot: string;
}

export interface ProcessInfo {
  pid: number;
  parent: number;
  group: number;
  session: number;
  start: string;
  name: string;
  /** A process that has ended and waits for its parent to notice: it holds nothing and cannot be killed. */
  zombie: boolean;
}

/** The kernel's table of processes, as far as it concerns us. */
export interface ProcessTable {
  bootId(): Promise<string>;
  /** All of them, each with whether it carries `VMO_JOB_ID=<jobId>` in its environment, as far as we may see it. */
  list(jobId: string): Promise<(ProcessInfo & { marked: boolean })[]>;
  find(pid: number): Promise<ProcessInfo | null>;
}

/** The environment variable that marks every process of a job; jobs may read it to learn who they are. */
export const jobMark = 'VMO_JOB_ID';

/** Looks at /proc for one list, on a machine where processes never stop coming. */
const maxTurns = 10;
/** Processes that are looked at before others get their turn in our own process. */
const batch = 100;

/** A process with the jobs that its environment names. */
type Marked = ProcessInfo & { marks: string[] };

/**
 * Gives everybody who asks at the same time the same look, which begins after they have asked: a hundred jobs that are
 * cancelled at once would else read the whole table a hundred times.
 */
function shared<T>(look: () => Promise<T>): { next(): Promise<T> } {
  let current: Promise<T> | null = null;
  let following: Promise<T> | null = null;
  function begin(): Promise<T> {
    const mine = look().finally(() => {
      if (current === mine) current = null;
    });
    current = mine;
    return mine;
  }
  return {
    next() {
      if (!current) return begin();
      following ??= current
        .catch(() => undefined)
        .then(() => {
          following = null;
          return begin();
        });
      return following;
    },
  };
}

/** Reads /proc, synchronously: it never waits for a disk, and the trips to other threads would take five times as long. */
export function createProcfsTable(root = '/proc'): ProcessTable {
  function read(pid: number, file: string): string | null {
    // A process can end at any moment: then its files are gone (ENOENT) or no longer readable (ESRCH).
    try {
      return readFileSync(`${root}/${String(pid)}/${file}`, 'latin1');
    } catch {
      return null;
    }
  }
  function look(pid: number): ProcessInfo | null {
    const stat = read(pid, 'stat');
    if (stat === null) return null;
    // pid (name) state ppid pgrp session …: the name may itself hold spaces and parentheses. See proc_pid_stat(5).
    const open = stat.indexOf('(');
    const close = stat.lastIndexOf(')');
    const fields = stat.slice(close + 2).split(' ');
    return {
      pid,
      name: stat.slice(open + 1, close),
      zombie: fields[0] === 'Z' || fields[0] === 'X',
      parent: Number(fields[1]),
      group: Number(fields[2]),
      session: Number(fields[3]),
      start: fields[19] ?? '',
    };
  }
  async function lookAtAll(): Promise<Marked[]> {
    const found = new Map<number, Marked | null>();
    // A look at all takes long enough for a process to fork and end unseen: those that came meanwhile are looked at
    // again, which takes a moment, until nobody came.
    for (let turn = 0; turn < maxTurns; turn++) {
      const pids = readdirSync(root).filter((name) => /^\d+$/.test(name));
      const fresh = pids.map(Number).filter((pid) => !found.has(pid));
      if (fresh.length === 0) break;
      for (const [index, pid] of fresh.entries()) {
        const info = look(pid);
        const environment = info?.zombie === false ? (read(pid, 'environ') ?? '') : '';
        const marks = environment
          .split('\0')
          .filter((entry) => entry.startsWith(`${jobMark}=`))
          .map((entry) => entry.slice(jobMark.length + 1));
        found.set(pid, info && { ...info, marks });
        if (index % batch === batch - 1) await setImmediate();
      }
    }
    return [...found.values()].filter((info) => info !== null);
  }
  const snapshots = shared(lookAtAll);
  return {
    bootId: async () => (await readFile(`${root}/sys/kernel/random/boot_id`, 'utf8')).trim(),
    find: async (pid) => look(pid),
    async list(jobId) {
      const all = await snapshots.next();
      return all.map(({ marks, ...info }) => ({ ...info, marked: marks.includes(jobId) }));
    },
  };
}

/** Asks ps(1), for systems without /proc. One program per call: slower, and right. */
export function createPsTable(): ProcessTable {
  const environment = { LC_ALL: 'C', TZ: 'UTC', PATH: '/usr/bin:/bin:/usr/sbin:/sbin' };
  async function ps(...args: string[]): Promise<string> {
    // ps ends with 1 when the process it was asked for does not exist: an empty answer, not an error.
    const { stdout } = await execute('ps', args, { env: environment, maxBuffer: 64 * 1024 * 1024 }).catch(
      () => ({ stdout: '' }),
    );
    return stdout;
  }
  function parse(text: string): ProcessInfo[] {
    return text.split('\n').flatMap((line) => {
      const match =
        /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s+(\w{3} +\w{3} +\d+ +[\d:]+ +\d{4})\s+(.*)$/.exec(line);
      if (!match) return [];
      const [, pid, parent, group, session, state, start, name] = match;
      return [
        {
          pid: Number(pid),
          parent: Number(parent),
          group: Number(group),
          session: Number(session),
          zombie: String(state).startsWith('Z'),
          start: String(start),
          name: basename(String(name)),
        },
      ];
    });
  }
  const columns = 'pid=,ppid=,pgid=,sess=,stat=,lstart=,comm=';
  return {
    bootId: async () => {
      const { stdout } = await execute('sysctl', ['-n', 'kern.bootsessionuuid'], { env: environment }).catch(
        () => ({ stdout: '' }),
      );
      return stdout.trim() || 'unknown';
    },
    find: async (pid) => parse(await ps('-o', columns, '-p', String(pid)))[0] ?? null,
    async list(jobId) {
      const [all, commands] = await Promise.all([ps('-axo', columns), ps('axeww', '-o', 'pid=,command=')]);
      const lines = commands.split('\n').filter((line) => line.split(/\s/).includes(`${jobMark}=${jobId}`));
      const marked = new Set(lines.map((line) => parseInt(line, 10)));
      return parse(all).map((info) => ({ ...info, marked: marked.has(info.pid) }));
    },
  };
}

export const createProcessTable = (): ProcessTable =>
  process.platform === 'linux' ? createProcfsTable() : createPsTable();

/** Whether this very process is alive: the same pid, started at the same time, since the same boot. */
export async function isAlive(table: ProcessTable, identity: ProcessIdentity): Promise<boolean> {
  const found = await table.find(identity.pid);
  return (
    found !== null &&
    !found.zombie &&
    found.start === identity.start &&
    (await table.bootId()) === identity.boot
  );
}

/** Sends a signal to one process, or with a negative pid to a group. False: there is no such process (any more). */
export function signalProcess(pid: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(pid, signal);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ESRCH' || error.code === 'EPERM'))
      return false;
    throw error;
  }
}
