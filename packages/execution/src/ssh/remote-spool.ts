import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { totalBytes } from '@vmo/contract';
import type { SshClient, SshTarget } from './client.ts';
import { converse } from './converse.ts';
import type { Mirror } from './mirror.ts';
import { freeScript } from './remote-script.ts';
import type { RemoteRun } from './remote-shell.ts';

const mib = 1024 * 1024;
/** The host is asked again after so much output: seldom enough to cost nothing, often enough for its disk. */
const stepBytes = 16 * mib;
/** Over a slow link that takes long, while the command may write much more than comes: then after this. */
const slowStepBytes = mib;
const slowStepMs = 5_000;
const timeoutMs = 60_000;

export interface RemoteSpoolOptions {
  client: SshClient;
  target: SshTarget;
  /** The run directory here. */
  directory: string;
  notice: (line: string) => void;
}

/**
 * The spool on a host: what is safe here goes from the disk there, and how much of it has not come yet is known. A host
 * that does not answer is asked again when more has come.
 */
export function createRemoteSpool({ client, target, directory, notice }: RemoteSpoolOptions) {
  let written = 0;
  let fetched = 0;
  let asked = { fetched: 0, at: Date.now() };
  let isAsking = false;
  let canFree = true;

  async function ask(run: RemoteRun, mirror: Mirror): Promise<void> {
    const sizes = { ...mirror.sizes };
    // What a crash of this machine could still take must stay there.
    await mirror.sync();
    const answer = await converse(client, target, (nonce) => freeScript(nonce, run, canFree ? sizes : null), {
      words: ['vmo-free', run.name],
      segments: 2,
      timeoutMs,
      maxBytes: mib,
    });
    const text = answer.text('stdout', 1);
    const found = /^size (\d+) (\d+)$/m.exec(text);
    if (found) written = Number(found[1]) + Number(found[2]);
    if (!text.includes('cannot') || !canFree) return;
    canFree = false;
    // Said once, also over restarts of ours.
    const isNew = await writeFile(join(directory, 'kept-there'), '', { flag: 'wx', mode: 0o600 }).then(
      () => true,
      () => false,
    );
    if (isNew)
      notice(
        `what has come from ${target.name} cannot be freed on its disk: its file system cannot, or fallocate (util-linux) is missing there; the output grows there as long as this runs`,
      );
  }

  return {
    /** To be called when more is in the mirror. */
    grown(run: RemoteRun, mirror: Mirror): void {
      fetched = totalBytes(mirror.sizes);
      const bytes = fetched - asked.fetched;
      if (isAsking || bytes < slowStepBytes) return;
      if (bytes < stepBytes && Date.now() - asked.at < slowStepMs) return;
      isAsking = true;
      asked = { fetched, at: Date.now() };
      ask(run, mirror)
        // The link, or this disk: whoever follows the run says so.
        .catch(() => undefined)
        .finally(() => {
          isAsking = false;
        });
    },

    unfetched: (): number => Math.max(written - fetched, 0),
  };
}

export type RemoteSpool = ReturnType<typeof createRemoteSpool>;
