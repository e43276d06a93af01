import { join } from 'node:path';

export interface NoiseOptions {
  seed: number;
  bytes: number;
  exitCode: number;
  /** Default: as fast as it goes. */
  bytesPerSecond?: number;
  /** Only as much as the file's size says: each byte in it allows one of so many rounds. */
  permits?: { file: string; rounds: number };
}

/** The shell command of a job that writes `noise(seed, bytes)`. */
export function noiseCommand(options: NoiseOptions): string {
  const program = join(import.meta.dirname, 'noise-main.ts');
  return `exec '${process.execPath}' '${program}' '${JSON.stringify(options)}'`;
}
