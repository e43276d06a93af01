import { readdir, readFile } from 'node:fs/promises';

const pids = async () => (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);

const read = (pid: number, file: string) => readFile(`/proc/${pid}/${file}`, 'latin1').catch(() => '');

/** Fields of proc_pid_stat(5) from the third on: state, parent … */
async function statOf(pid: number): Promise<string[]> {
  const stat = await read(pid, 'stat');
  return stat === '' ? [] : stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

/** Whether the process runs; one that has ended and waits for its parent does not. */
export async function isRunning(pid: number): Promise<boolean> {
  const [state] = await statOf(pid);
  return state !== undefined && state !== 'Z' && state !== 'X';
}

/** Start time in clock ticks since boot. */
export async function startTimeOf(pid: number): Promise<string> {
  return (await statOf(pid))[19] ?? '';
}

/** Processes that carry this job's mark, the wrapper among them. */
export async function processesOfJob(jobId: string): Promise<number[]> {
  const found: number[] = [];
  for (const pid of await pids()) {
    const environment = (await read(pid, 'environ')).split('\0');
    if (environment.includes(`VMO_JOB_ID=${jobId}`)) found.push(pid);
  }
  return found;
}

/** Processes that carry the mark of one of these jobs. */
export async function processesOfJobs(jobIds: ReadonlySet<string>): Promise<number[]> {
  const found: number[] = [];
  for (const pid of await pids()) {
    const marks = (await read(pid, 'environ')).split('\0').filter((entry) => entry.startsWith('VMO_JOB_ID='));
    if (marks.some((mark) => jobIds.has(mark.slice('VMO_JOB_ID='.length)))) found.push(pid);
  }
  return found;
}

/** Children that have ended and were never waited for. */
export async function zombiesOf(parent: number): Promise<number[]> {
  const found: number[] = [];
  for (const pid of await pids()) {
    const [state, ppid] = await statOf(pid);
    if (state === 'Z' && Number(ppid) === parent) found.push(pid);
  }
  return found;
}

/** Proportional set size in MB: shared pages are counted once over all processes. */
export async function memoryOf(pid: number): Promise<number> {
  return Number(/^Pss:\s+(\d+)/m.exec(await read(pid, 'smaps_rollup'))?.[1] ?? NaN) / 1024;
}

export async function openFilesOf(pid: number): Promise<number> {
  return (await readdir(`/proc/${pid}/fd`)).length;
}
