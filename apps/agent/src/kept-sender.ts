import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { maxKeptPiece, type JobId, type KeptFiles } from '@vmo/contract';
import type { AgentLogger } from './agent.ts';
import type { HttpAgentApi } from './http-api.ts';

export interface KeptSenderOptions {
  /** The machines' folder of the storage. */
  machines: string;
  api: Pick<HttpAgentApi, 'kept' | 'keptPiece'>;
  logger: AgentLogger;
}

type Digest = KeptFiles['files'][number] & { mtimeMs: number };

/** Sends disks that were kept of requests to the server, one after another. */
export interface KeptSender {
  /** These are wanted now; what is under way goes on, and what is wanted no more ends by itself. */
  send(jobIds: readonly JobId[]): void;
  close(): Promise<void>;
}

/** In the order of the machine: `root.qcow2`, `disk-1.qcow2`, … */
async function disksIn(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => []);
  const placeOf = (name: string) =>
    name === 'root.qcow2' ? 0 : Number(/^disk-(\d+)\.qcow2$/.exec(name)?.[1]);
  return names
    .filter((name) => Number.isInteger(placeOf(name)))
    .sort((a, b) => placeOf(a) - placeOf(b))
    .map((name) => join(folder, name));
}

export function createKeptSender({ machines, api, logger }: KeptSenderOptions): KeptSender {
  const closing = new AbortController();
  /** Read once, however often the way to the server is cut: nobody writes to a disk that is kept. */
  const digests = new Map<string, Digest>();
  let sending: Promise<void> | null = null;

  async function digestOf(path: string): Promise<Digest> {
    const { size: sizeBytes, mtimeMs } = await stat(path);
    const known = digests.get(path);
    if (known?.sizeBytes === sizeBytes && known.mtimeMs === mtimeMs) return known;
    const hash = createHash('sha256');
    for await (const bytes of createReadStream(path, { signal: closing.signal }))
      hash.update(bytes as Buffer);
    const digest = { sizeBytes, mtimeMs, sha256: hash.digest('hex') };
    digests.set(path, digest);
    return digest;
  }

  async function sendFile(jobId: JobId, index: number, path: string, from: number): Promise<boolean> {
    await using file = await open(path, 'r');
    const { size } = await file.stat();
    for (let offset = from; offset < size;) {
      closing.signal.throwIfAborted();
      const buffer = Buffer.alloc(Math.min(maxKeptPiece, size - offset));
      const { bytesRead } = await file.read(buffer, 0, buffer.length, offset);
      const next = await api.keptPiece(jobId, index, offset, buffer.subarray(0, bytesRead), closing.signal);
      if (next === null) return false;
      offset = next;
    }
    return true;
  }

  async function sendOne(jobId: JobId): Promise<void> {
    const paths = await disksIn(join(machines, jobId));
    const files: KeptFiles['files'] = [];
    for (const path of paths) {
      const { sizeBytes, sha256 } = await digestOf(path);
      files.push({ sizeBytes, sha256 });
    }
    const offsets = await api.kept(jobId, { files });
    if (!offsets) return;
    for (const [index, path] of paths.entries())
      if (!(await sendFile(jobId, index, path, offsets[index] ?? 0))) return;
    for (const path of paths) digests.delete(path);
  }

  async function sendAll(jobIds: readonly JobId[]): Promise<void> {
    for (const jobId of jobIds) {
      try {
        await sendOne(jobId);
      } catch (error) {
        if (closing.signal.aborted) return;
        logger.warn({ err: error, jobId }, 'a kept disk was not sent; going on with the next renewal');
      }
    }
  }

  return {
    send(jobIds) {
      if (jobIds.length === 0 || sending || closing.signal.aborted) return;
      sending = sendAll(jobIds).finally(() => {
        sending = null;
      });
    },

    async close() {
      closing.abort();
      await sending;
    },
  };
}
