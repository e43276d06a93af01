import { posix } from 'node:path';
import { isFinal, type Artifact, type CommandResult, type Job, type SimulationRequest } from '@vmo/contract';
import { signalOfExitCode } from '@vmo/execution';
import type { RequestRow } from './repository.ts';

/** A request as people see it. */
export function toShown(row: RequestRow, job: Job): SimulationRequest {
  const { plan, progress, submission } = row;
  const over = isFinal(job.status);
  const times = [job.createdAt, job.startedAt, job.finishedAt, row.updatedAt.toISOString()];
  return {
    uuid: job.id,
    vm_name: row.vmName,
    vm_kind: row.vmKind,
    commands:
      typeof submission.commands === 'string' ? submission.commands : plan.commands.map(({ run }) => run),
    timeout: job.timeout ?? 0,
    status: job.status,
    message: job.reason,
    exit_code: job.exitCode,
    signal: job.signal,
    created_at: job.createdAt,
    updated_at: times.filter((time) => time !== null).reduce((a, b) => (a > b ? a : b)),
    created_by: job.createdBy,
    agent: job.agent,
    attempt: job.attempt,
    place: job.place,
    priority: row.priority,
    labels: row.labels,
    batch: row.batchId,
    stop_on_failure: plan.stopOnFailure,
    keep_on_failure: submission.keep_on_failure,
    kept_until: row.keptUntil?.toISOString() ?? null,
    bringing: row.discardedAt ? null : row.bringing,
    opened_vm: row.openedVm,
    cannot_open: whyClosed(row, job),
    kept_in: row.discardedAt ? null : (progress?.keptIn ?? null),
    retry: row.retries,
    env_names: Object.keys(plan.env),
    files: row.files,
    channel: progress?.channel ?? null,
    streams_mixed: false,
    timeline: {
      queued_at: job.createdAt,
      booting_at: job.startedAt,
      ready_at: progress?.readyAt ?? null,
      running_at: progress?.commands[0]?.startedAt ?? null,
      finished_at: job.finishedAt,
    },
    results: plan.commands.map((command, index) => toResult(row, index, over)),
    artifacts: plan.artifacts.map((_, index) => toArtifact(row, index)),
    log_bytes: job.logBytes,
    line_count: job.lineCount,
    log_state: job.logState,
    cancel_requested: job.cancelRequested,
  };
}

/** Why no machine can be made of the disks of this one; null: one can. */
export function whyClosed(row: RequestRow, { status, agent }: Pick<Job, 'status' | 'agent'>): string | null {
  if (!isFinal(status)) return 'it has not ended';
  if (row.discardedAt) return 'the time was over for which its disk was kept';
  if (row.progress?.kept !== true) {
    if (status === 'done') return 'it went well: only the disks of failed ones are kept';
    return row.submission.keep_on_failure
      ? 'its machine had no disk, or never started'
      : 'its disk was not kept: that is done with keep_on_failure';
  }
  return row.isHere || row.bringing?.state === 'here'
    ? null
    : `its disk lies with the agent ${agent ?? ''}, on another machine`;
}

/** Where the agent was lost, nobody has told the end of its commands. */
function statusOf(told: CommandResult['status'], over: boolean): CommandResult['status'] {
  if (!over) return told;
  return told === 'running' ? 'failed' : told === 'waiting' ? 'skipped' : told;
}

function toResult({ plan, progress }: RequestRow, index: number, over: boolean): CommandResult {
  const command = plan.commands[index];
  const told = progress?.commands[index];
  const startedAt = told?.startedAt ?? null;
  const finishedAt = told?.finishedAt ?? null;
  const exitCode = told?.exitCode ?? null;
  return {
    index,
    name: command?.name ?? null,
    command: command?.run ?? '',
    status: statusOf(told?.status ?? 'waiting', over),
    exit_code: exitCode,
    signal: exitCode === null ? null : signalOfExitCode(exitCode),
    started_at: startedAt,
    finished_at: finishedAt,
    duration_ms:
      startedAt !== null && finishedAt !== null ? Date.parse(finishedAt) - Date.parse(startedAt) : null,
    stdout_bytes: told?.stdoutBytes ?? null,
    stderr_bytes: told?.stderrBytes ?? null,
  };
}

export function toArtifact(
  { plan, progress }: Pick<RequestRow, 'plan' | 'progress'>,
  index: number,
): Artifact {
  const path = plan.artifacts[index] ?? '';
  const told = progress?.artifacts.find((artifact) => artifact.index === index);
  const name = posix.basename(path) || 'root';
  return {
    index,
    path,
    file_name: told?.isFolder === true ? `${name}.tar` : name,
    size_bytes: told?.sizeBytes ?? null,
    reason: told ? told.reason : 'it has not been fetched',
  };
}
