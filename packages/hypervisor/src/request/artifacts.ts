import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { maxArtifactPiece, type MachineRequest, type RunPlan, type RunProgress } from '@vmo/contract';
import type { RequestLink, RunSpec } from '@vmo/execution';
import { formatBytes } from '../images/sizes.ts';
import type { ReportedArtifact } from './report.ts';

export interface FetchOptions {
  spec: Pick<RunSpec, 'directory'>;
  request: Pick<MachineRequest, 'maxArtifactBytes'>;
  link: Pick<RequestLink, 'artifact'>;
  plan: Pick<RunPlan, 'artifacts'>;
  reported: readonly ReportedArtifact[];
}

/** Brings what the guest gave from the run directory to the server; again from the beginning where that was begun before. */
export async function fetchArtifacts(options: FetchOptions): Promise<RunProgress['artifacts']> {
  const { spec, request, link, plan, reported } = options;
  const path = join(spec.directory, 'artifacts');
  const there = await stat(path).then(
    ({ size }) => size,
    () => 0,
  );
  let left = request.maxArtifactBytes;
  let at = 0;
  const told: RunProgress['artifacts'] = [];
  for (const index of plan.artifacts.keys()) {
    const artifact = reported[index];
    const missing = (reason: string, isFolder = false) =>
      told.push({ index, sizeBytes: null, isFolder, reason });
    if (!artifact) {
      missing('the guest did not give it');
    } else if ('reason' in artifact) {
      missing(artifact.reason);
    } else {
      const { bytes, isFolder } = artifact;
      const from = at;
      at += bytes;
      if (bytes > left) {
        missing(`all artifacts together may have ${formatBytes(request.maxArtifactBytes)}`, isFolder);
      } else if (at > there) {
        missing('not all of it came', isFolder);
      } else {
        await send(path, from, bytes, (offset, piece) => link.artifact({ index, offset, bytes: piece }));
        told.push({ index, sizeBytes: bytes, isFolder, reason: null });
      }
      left -= Math.min(bytes, left);
    }
  }
  return told;
}

async function send(
  path: string,
  from: number,
  length: number,
  take: (offset: number, piece: Uint8Array) => Promise<void>,
): Promise<void> {
  await using file = await open(path, 'r');
  for (let offset = 0; offset < length;) {
    const buffer = Buffer.alloc(Math.min(maxArtifactPiece, length - offset));
    const { bytesRead } = await file.read(buffer, 0, buffer.length, from + offset);
    if (bytesRead === 0) throw new Error(`${path} became shorter while it was read`);
    await take(offset, buffer.subarray(0, bytesRead));
    offset += bytesRead;
  }
}
