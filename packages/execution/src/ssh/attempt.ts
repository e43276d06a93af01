import { randomUUID } from 'node:crypto';
import { open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';

const RemoteEnd = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('exited'),
    exitCode: z.int(),
    signal: z.string().nullable(),
    startedAt: z.coerce.date(),
    finishedAt: z.coerce.date(),
    leftovers: z.array(z.string()),
  }),
  z.object({ kind: z.literal('not-started'), reason: z.string() }),
  z.object({ kind: z.literal('lost'), reason: z.string() }),
]);

/** What this machine knows about a remote run: kept beside the mirror of its output, so that a restart of ours knows. */
const Attempt = z.object({
  /** Name of the run directory on the host. */
  name: z.string().regex(/^[0-9a-f-]+$/),
  /** The host said that it has begun. Without it, the host has to be asked. */
  begun: z.boolean(),
  startedAt: z.coerce.date(),
  /** Written before the remote run directory is removed. */
  end: RemoteEnd.nullable(),
});
export type Attempt = z.infer<typeof Attempt>;

/** A new attempt gets a directory of its own on the host, so that what was given up can never be mistaken for it. */
export const newAttempt = (jobId: string): Attempt => ({
  name: `${jobId}-${randomUUID().slice(0, 8)}`,
  begun: false,
  startedAt: new Date(),
  end: null,
});

const file = 'remote';

/** null: no attempt was made, so no host was asked to begin anything. */
export async function readAttempt(directory: string): Promise<Attempt | null> {
  const text = await readFile(join(directory, file), 'utf8').catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  });
  return text === null ? null : Attempt.parse(JSON.parse(text));
}

/** There whole or not at all, also after a power cut. */
export async function writeAttempt(directory: string, attempt: Attempt): Promise<void> {
  const temporary = join(directory, `${file}.tmp`);
  const handle = await open(temporary, 'w', 0o600);
  try {
    await handle.writeFile(JSON.stringify(attempt));
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, join(directory, file));
}
