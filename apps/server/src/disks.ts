import { join } from 'node:path';
import { freeBytes, isDiskFull } from '@vmo/execution';

/** Postgres stops when it cannot make its next WAL segment of 16 MB; two, to say so before it comes to that. */
const leastPostgresBytes = 32 * 1024 * 1024;

export interface Disks {
  /** No job can be started. */
  runsAreFull: boolean;
  /** For people. */
  problems: string[];
}

/** Looks at the disks that we write to. */
export function lookAtDisks(dataDirectory: string, postgresIsOurs: boolean): Disks {
  const runs = join(dataDirectory, 'runs');
  const postgres = join(dataDirectory, 'postgres');
  const problems: string[] = [];
  const runsAreFull = isDiskFull(runs);
  if (runsAreFull) problems.push(`the disk of ${runs} is full: no space left for the output of jobs`);
  const free = postgresIsOurs ? freeBytes(postgres) : null;
  if (free !== null && free < leastPostgresBytes) {
    problems.push(`the disk of ${postgres} is full: ${(free / 1e6).toFixed(0)} MB left for the database`);
  }
  return { runsAreFull, problems };
}
