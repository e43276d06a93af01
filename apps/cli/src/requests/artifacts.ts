import { createWriteStream } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Artifact, SimulationRequest } from '@vmo/contract';
import type { Cli } from '../cli.ts';

export interface Saved {
  artifact: Artifact;
  /** null: it was not there to be fetched. */
  file: string | null;
}

/** Names come from the guest: only a file in our own directory, whatever it says. */
function safeName({ file_name: name, index }: Artifact): string {
  const plain = basename(name.replace(/[\p{Cc}\\]/gu, '_'));
  return plain === '' || plain === '.' || plain === '..' ? `artifact-${String(index)}` : plain;
}

/** Downloads what a request has fetched out of its guest; two of the same name keep both. */
export async function saveArtifacts(
  cli: Cli,
  request: SimulationRequest,
  directory: string,
): Promise<Saved[]> {
  const target = resolve(cli.world.cwd, directory);
  const saved: Saved[] = [];
  const names = new Set<string>();
  for (const artifact of request.artifacts) {
    if (artifact.size_bytes === null) {
      saved.push({ artifact, file: null });
      continue;
    }
    const name = names.has(safeName(artifact))
      ? `${String(artifact.index)}-${safeName(artifact)}`
      : safeName(artifact);
    names.add(name);
    await mkdir(target, { recursive: true });
    const file = join(target, name);
    await download(cli, request, artifact, file);
    saved.push({ artifact, file });
  }
  return saved;
}

async function download(
  cli: Cli,
  request: SimulationRequest,
  { index }: Artifact,
  file: string,
): Promise<void> {
  const aside = `${file}.${String(process.pid)}.part`;
  const response = await cli.client().download('getArtifact', { params: { requestId: request.uuid, index } });
  try {
    // Whole or not at all.
    await pipeline(Readable.from(response.body ?? []), createWriteStream(aside));
    await rename(aside, file);
  } finally {
    await rm(aside, { force: true });
  }
}
