import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { CodedError, JobId, type ArtifactPiece } from '@vmo/contract';

export type Artifacts = ReturnType<typeof createArtifacts>;

/** Files that were fetched out of machines: `<directory>/<job>/<index>`. */
export function createArtifacts(directory: string) {
  const pathOf = (jobId: JobId, index: number) => join(directory, jobId, String(index));
  return {
    /** At its place: a piece that comes again changes nothing. */
    async write(jobId: JobId, { index, offset, bytes }: ArtifactPiece): Promise<void> {
      await mkdir(join(directory, jobId), { recursive: true, mode: 0o700 });
      // Made where it is missing, and never cut: `a` would write at the end, `w` would empty it.
      await (await open(pathOf(jobId, index), 'a', 0o600)).close();
      await using file = await open(pathOf(jobId, index), 'r+');
      await file.write(bytes, 0, bytes.length, offset);
    },

    /** @throws CodedError ARTIFACT_NOT_FOUND */
    async read(jobId: JobId, index: number, sizeBytes: number): Promise<Readable> {
      const path = pathOf(jobId, index);
      const found = await stat(path).catch(() => null);
      if (!found && sizeBytes > 0) {
        throw new CodedError('ARTIFACT_NOT_FOUND', 'this artifact was removed after the retention time');
      }
      // Nothing was written for an empty one.
      return createReadStream(sizeBytes > 0 ? path : '/dev/null', { end: Math.max(sizeBytes - 1, 0) });
    },

    async remove(jobId: JobId): Promise<void> {
      await rm(join(directory, jobId), { recursive: true, force: true });
    },

    /** Removes those of jobs that are gone, or older than so many days. @param known which of these jobs exist */
    async clean(days: number, known: (ids: JobId[]) => Promise<ReadonlySet<string>>): Promise<void> {
      const names = await readdir(directory).catch(() => []);
      const ids = names.flatMap((name) => JobId.safeParse(name).data ?? []);
      const there = await known(ids);
      const oldest = Date.now() - days * 86_400_000;
      for (const id of ids) {
        const { mtimeMs } = await stat(join(directory, id));
        if (!there.has(id) || mtimeMs < oldest)
          await rm(join(directory, id), { recursive: true, force: true });
      }
    },
  };
}
