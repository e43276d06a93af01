import type { RequestChannel, RunPlan, RunProgress } from '@vmo/contract';
import type { Report } from './report.ts';

export interface ProgressOptions {
  plan: RunPlan;
  report: Report;
  channel: RequestChannel | null;
  /** When the machine did: one that goes on from what was kept was ready long before. */
  startedAt: Date;
  /** The time of the host when the guest booted, in milliseconds; null: not known yet. */
  bootedAt: number | null;
  artifacts: RunProgress['artifacts'];
  /** Nothing more comes. */
  isOver: boolean;
  /** The directory of the disks that were kept; null: none were. */
  keptIn: string | null;
}

/** What is told to the server of all that is known. */
export function toProgress(options: ProgressOptions): RunProgress {
  const { plan, report, channel, bootedAt, startedAt, isOver } = options;
  const time = (seconds: number | undefined) =>
    seconds === undefined || bootedAt === null
      ? null
      : new Date(Math.max(bootedAt + seconds * 1000, startedAt.getTime())).toISOString();
  return {
    channel,
    readyAt: time(report.readyAt ?? undefined),
    commands: plan.commands.map((_, index) => {
      const told = report.commands[index];
      const end = told?.end ?? null;
      const left = isOver ? 'skipped' : 'waiting';
      const unfinished = isOver ? 'failed' : 'running';
      return {
        status: !told ? left : !end ? unfinished : end.code === 0 ? 'done' : 'failed',
        exitCode: end?.code ?? null,
        startedAt: time(told?.beganAt),
        finishedAt: time(end?.at),
        stdoutBytes: end?.stdout ?? null,
        stderrBytes: end?.stderr ?? null,
      };
    }),
    artifacts: options.artifacts,
    kept: options.keptIn !== null,
    keptIn: options.keptIn,
  };
}
