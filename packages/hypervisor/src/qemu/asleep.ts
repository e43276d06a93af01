import { readdirSync, readFileSync } from 'node:fs';

/**
 * What the threads of a process have used of the processors so far, in ticks of the kernel: the same number twice says
 * that nothing has happened in between. See proc_pid_stat(5).
 * @returns null: one of them runs, waits for a disk or was stopped, or the process has gone
 */
export function ticksAsleep(pid: number): number | null {
  let ticks = 0;
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'latin1');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (fields[0] !== 'S') return null;
      ticks += Number(fields[11]) + Number(fields[12]);
    }
    return ticks;
  } catch {
    return null;
  }
}
