import type { JobType } from '@vmo/contract';
import { StartError, type Run, type RunSpec, type Strategy } from './run.ts';

/** Picks the strategy of a job's type; knows nothing else about it. */
export interface ExecutionManager {
  /** @throws StartError when the run could not be started and provably did not begin */
  start(type: JobType, spec: RunSpec): Promise<Run>;
  /** null: the run provably never began, and now never will. */
  adopt(type: JobType, spec: RunSpec): Promise<Run | null>;
  /** See {@link Strategy.endStrays}. */
  endStrays(type: JobType, jobId: string): Promise<string[]>;
}

export function createExecutionManager(strategies: readonly Strategy[]): ExecutionManager {
  const byType = new Map(strategies.map((strategy) => [strategy.type, strategy]));
  function strategyFor(type: JobType): Strategy {
    const strategy = byType.get(type);
    if (!strategy)
      throw new StartError(
        `this agent cannot run jobs of type ${type}: it has ${[...byType.keys()].join(', ')}`,
      );
    return strategy;
  }
  return {
    start: async (type, spec) => strategyFor(type).start(spec),
    adopt: async (type, spec) => strategyFor(type).adopt(spec),
    endStrays: async (type, jobId) => (await strategyFor(type).endStrays?.(jobId)) ?? [],
  };
}
