import { SpoolStream, type LogStream, type Offsets } from '@vmo/contract';
import type { LogEndColumns } from './log-repository.ts';

/** Bytes of each spool that are stored. */
export const storedOffsets = (row: LogEndColumns): Offsets => ({
  stdout: row.stdout_bytes,
  stderr: row.stderr_bytes,
  boot: row.boot_bytes,
  command: row.command_bytes,
});

const spoolStreams: ReadonlySet<string> = new Set(SpoolStream.options);
export const isSpool = (stream: LogStream): stream is SpoolStream => spoolStreams.has(stream);
