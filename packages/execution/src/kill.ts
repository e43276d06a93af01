import { setTimeout as delay } from 'node:timers/promises';
import { cgroupMembers, isPopulated, killCgroup, type Cgroups } from './cgroup.ts';
import {
  isAlive,
  signalProcess,
  type ProcessIdentity,
  type ProcessInfo,
  type ProcessTable,
} from './process.ts';

/** What belongs to a run, and by which means it is found. */
export interface RunProcesses {
  jobId: string;
  table: ProcessTable;
  /** Leads the session and the process group; null when it never wrote who it is. */
  wrapper: ProcessIdentity | null;
  /**
   * Terminals have no wrapper: the leader is the command itself, and dies like any other member. Default: the leader
   * is the wrapper, which is spared, since it lives to write the record.
   */
  leaderIsCommand?: boolean;
  /** The run's control group, where there is one. */
  cgroup: string | null;
}

/** How often the ladder looks whether the run has gone: soon at first, then rarely, since a look reads the whole table. */
const firstPollMs = 5;
const maxPollMs = 100;
/**
 * A process that forks and ends can slip between two reads of the table, about once in a hundred searches; so where no
 * control group can be asked, nobody is believed to be left before this many searches in a row have found nobody.
 */
const emptySearches = 4;
/**
 * A command that has just begun can miss a signal: its process is forked after the group got it, or has not yet shed the
 * traps of the wrapper. So a young run that still lives after this long is asked once more.
 */
const askAgainMs = 300;
/** What has not died by then sleeps in the kernel (a dead disk), or forks faster than it can be found. */
const sweepMs = 3_000;

interface Found {
  /** The living processes of the run. */
  members: ProcessInfo[];
  /** The process groups that hold nothing else. */
  groups: number[];
}

/** As `searchOnce`, but only believes that there is nobody when it is sure. */
async function search(run: RunProcesses): Promise<Found> {
  let found = await searchOnce(run);
  for (let empty = 1; found.members.length === 0 && empty < emptySearches; empty++) {
    if (run.cgroup !== null && !(await isPopulated(run.cgroup))) break;
    found = await searchOnce(run);
  }
  return found;
}

async function searchOnce(run: RunProcesses): Promise<Found> {
  const living = (await run.table.list(run.jobId)).filter((info) => !info.zombie);
  const all = living.filter((info) => info.pid !== process.pid);
  const inGroup = new Set(run.cgroup === null ? [] : await cgroupMembers(run.cgroup));
  const members = new Map<number, ProcessInfo>();
  const wrapper = run.wrapper;
  const wrapperLives = await isLeaderAlive(run);
  for (const info of all) {
    // A session keeps the number of its leader as long as it has a process, so nobody else can get that pid.
    const inSession = wrapper !== null && wrapperLives && info.session === wrapper.pid;
    if (inGroup.has(info.pid) || info.marked || inSession) members.set(info.pid, info);
  }
  for (let grown = true; grown;) {
    grown = false;
    for (const info of all) {
      if (members.has(info.pid) || !members.has(info.parent)) continue;
      members.set(info.pid, info);
      grown = true;
    }
  }
  const groups = new Set([...members.values()].map((info) => info.group));
  for (const info of living) if (!members.has(info.pid)) groups.delete(info.group);
  if (!run.leaderIsCommand && wrapper !== null && members.get(wrapper.pid)?.start === wrapper.start)
    members.delete(wrapper.pid);
  return { members: [...members.values()], groups: [...groups] };
}

/**
 * Every living process of the run, without the wrapper. Three ways to belong: by control group; by the mark in the
 * environment; by descent from, or session or group of, a process that belongs.
 */
export async function findMembers(run: RunProcesses): Promise<ProcessInfo[]> {
  return (await search(run)).members;
}

/** Whether the very process that led the run is alive: a pid that came round again, or another boot, is not it. */
async function isLeaderAlive({ table, wrapper }: RunProcesses): Promise<boolean> {
  return wrapper !== null && (await isAlive(table, wrapper));
}

/** Signals a process, if its pid still means the one that was found. */
async function signalMember(run: RunProcesses, info: ProcessInfo, signal: NodeJS.Signals): Promise<void> {
  const now = await run.table.find(info.pid);
  if (now?.start === info.start) signalProcess(info.pid, signal);
}

/**
 * Whether anything of the run is alive. With a control group the kernel knows; else the table is searched. A wrapper
 * counts: as long as it lives it may be about to begin the command.
 */
async function isAnythingAlive(run: RunProcesses): Promise<boolean> {
  if (await isLeaderAlive(run)) return true;
  if (run.cgroup !== null && (await isPopulated(run.cgroup))) return true;
  return (await findMembers(run)).length > 0;
}

/**
 * Processes that outlive the run's own end, in words. A control group answers without reading the whole table, which
 * matters at the end of every job.
 */
export async function findLeftovers(run: RunProcesses): Promise<string[]> {
  if (run.cgroup === null) return summarise((await searchOnce(run)).members);
  const found = await Promise.all((await cgroupMembers(run.cgroup)).map((pid) => run.table.find(pid)));
  return summarise(found.filter((info) => info !== null).filter((info) => !info.zombie));
}

function summarise(left: readonly ProcessInfo[]): string[] {
  return left.length > 0 ? [describeProcesses(left)] : [];
}

/** `sh (12), sleep (13) and 4 more`. */
export function describeProcesses(processes: readonly Pick<ProcessInfo, 'name' | 'pid'>[], most = 8): string {
  const named = processes.slice(0, most).map(({ name, pid }) => `${name} (${String(pid)})`);
  const more = processes.length - named.length;
  return named.join(', ') + (more > 0 ? ` and ${String(more)} more` : '');
}

/**
 * Kills everything of the run but the wrapper, which lives to write the record. Without a control group the members
 * are stopped first, all of them, until a search finds no new one: what is stopped cannot fork. Whole groups are
 * stopped in one step, since a process that forks and ends is gone before its pid has been read.
 * @returns those that were found alive, and those that would not die
 */
async function killAll(run: RunProcesses): Promise<{ killed: ProcessInfo[]; left: ProcessInfo[] }> {
  const killed = new Map<number, ProcessInfo>();
  const note = (found: readonly ProcessInfo[]) => {
    for (const info of found) killed.set(info.pid, info);
  };
  if (run.cgroup !== null) {
    note(await findMembers(run));
    await killCgroup(run.cgroup);
  }
  const deadline = Date.now() + sweepMs;
  for (;;) {
    const stopped = new Map<number, ProcessInfo>();
    for (;;) {
      const { members, groups } = await search(run);
      const fresh = members.filter((info) => stopped.get(info.pid)?.start !== info.start);
      if (fresh.length === 0) break;
      for (const group of groups) signalProcess(-group, 'SIGSTOP');
      for (const info of fresh) {
        stopped.set(info.pid, info);
        await signalMember(run, info, 'SIGSTOP');
      }
      note(fresh);
      if (Date.now() >= deadline) break;
    }
    for (const info of stopped.values()) await signalMember(run, info, 'SIGKILL');
    if (run.wrapper && (await isLeaderAlive(run))) signalProcess(run.wrapper.pid, 'SIGCONT');
    if (stopped.size === 0) return { killed: [...killed.values()], left: [] };
    if (Date.now() >= deadline) return { killed: [...killed.values()], left: await findMembers(run) };
  }
}

/**
 * The cancel ladder: SIGTERM to the process group and to members that have left it (and SIGCONT, since a stopped
 * process does not hear SIGTERM), time for an orderly end, SIGKILL to everything.
 * @param signals asks for the end in this order, each with an equal share of the time
 * @param young the run has only just begun
 * @returns the words for the log, when nothing of the run is left; none when nothing was alive to begin with
 */
export async function endRun(
  run: RunProcesses,
  graceMs: number,
  signals: readonly NodeJS.Signals[] = ['SIGTERM'],
  young = false,
): Promise<string[]> {
  const begun = Date.now();
  const lines: string[] = [];
  for (const [index, signal] of signals.entries()) {
    const members = await findMembers(run);
    if (members.length === 0 && !(await isLeaderAlive(run))) return lines;
    lines.push(await sendSignal(run, members, signal));
    if (young && index === 0 && !(await waitForEnd(run, Math.min(begun + graceMs, Date.now() + askAgainMs))))
      await sendToAll(run, await findMembers(run), signal);
    if (await waitForEnd(run, begun + (graceMs * (index + 1)) / signals.length)) return lines;
  }
  const { killed, left } = await killAll(run);
  // The wrapper, which was spared, is about to write the record and to end.
  if (left.length === 0) await waitForEnd(run, Date.now() + sweepMs);
  if (killed.length > 0)
    lines.push(`SIGKILL after ${String(graceMs / 1000)} s: ${describeProcesses(killed)}`);
  if (left.length > 0) lines.push(`still alive after SIGKILL: ${describeProcesses(left)}`);
  return lines;
}

/** Ends at once whatever carries the mark of this job or is in its control group, without anything to know it by. */
export function endStrays(
  jobId: string,
  { table, cgroups }: { table: ProcessTable; cgroups: Cgroups | null },
): Promise<string[]> {
  return endRun({ jobId, table, wrapper: null, cgroup: cgroups?.path(jobId) ?? null }, 0);
}

/**
 * Stops or continues everything of the run. Nobody is told, and nothing is waited for.
 * @returns whether there was anybody to be signalled
 */
export async function signalRun(run: RunProcesses, signal: 'SIGSTOP' | 'SIGCONT'): Promise<boolean> {
  const members = await findMembers(run);
  if (members.length === 0) return false;
  await sendToAll(run, members, signal);
  return true;
}

/** @returns the process group of the leader, which got the signal in one step; null: it has gone */
async function sendToAll(
  run: RunProcesses,
  members: readonly ProcessInfo[],
  signal: NodeJS.Signals,
): Promise<number | null> {
  // The group in one step, so that no fork slips through; a wrapper, its leader, traps what would end it.
  const group = run.wrapper !== null && (await isLeaderAlive(run)) ? run.wrapper.pid : null;
  if (group !== null) signalProcess(-group, signal);
  for (const info of members) if (info.group !== group) await signalMember(run, info, signal);
  return group;
}

/** @returns the words for the log */
async function sendSignal(
  run: RunProcesses,
  members: readonly ProcessInfo[],
  signal: NodeJS.Signals,
): Promise<string> {
  const group = await sendToAll(run, members, signal);
  await sendToAll(run, members, 'SIGCONT');
  const where = group === null ? '' : ` to process group ${String(group)}`;
  return `${signal} sent${where}${members.length > 0 ? `: ${describeProcesses(members)}` : ''}`;
}

/** Whether everything was gone before the deadline. */
async function waitForEnd(run: RunProcesses, deadline: number): Promise<boolean> {
  for (let wait = firstPollMs; await isAnythingAlive(run); wait = Math.min(wait * 2, maxPollMs)) {
    if (Date.now() >= deadline) return false;
    await delay(Math.min(wait, Math.max(deadline - Date.now(), 0)));
  }
  return true;
}
