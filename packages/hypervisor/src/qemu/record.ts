import { randomUUID } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { recordFile } from './layout.ts';

/** What a machine was started with: kept, since who takes hold of it later must know. */
const MachineRecord = z.object({
  version: z.string(),
  accelerator: z.enum(['kvm', 'tcg']),
  ports: z.array(z.object({ guest: z.int(), host: z.int() })),
  tap: z.string().nullable(),
  vnc: z.boolean(),
  /** As root: as whom it runs. */
  owner: z.object({ name: z.string(), uid: z.int(), gid: z.int() }).nullable(),
  /** We have paused it for a moment: whoever finds this lets it go on. */
  heldUp: z.boolean().default(false),
  /** Memory is being read into it, or was, in vain: what it is cannot be told. */
  broken: z.string().nullable().default(null),
  /** Of a request that may go on from what was kept of one before it, or be kept itself. */
  warm: z
    .object({ key: z.string(), restored: z.boolean(), disks: z.array(z.string()) })
    .nullable()
    .default(null),
});
export type MachineRecord = z.infer<typeof MachineRecord>;

/** The record of a machine that runs, as it changes. */
export function createNotes(vmDirectory: string, record: MachineRecord) {
  let now = record;
  return {
    get now() {
      return now;
    },
    async change(patch: Partial<Pick<MachineRecord, 'heldUp' | 'broken'>>): Promise<void> {
      const next = { ...now, ...patch };
      await writeRecord(vmDirectory, next);
      now = next;
    },
  };
}
export type Notes = ReturnType<typeof createNotes>;

export async function writeRecord(vmDirectory: string, record: MachineRecord): Promise<void> {
  const temporary = join(vmDirectory, `.${randomUUID()}`);
  await writeFile(temporary, `${JSON.stringify(record)}\n`, { mode: 0o600 });
  await rename(temporary, join(vmDirectory, recordFile));
}

/** null: none, or it is damaged. */
export async function readRecord(vmDirectory: string): Promise<MachineRecord | null> {
  try {
    return MachineRecord.parse(JSON.parse(await readFile(join(vmDirectory, recordFile), 'utf8')));
  } catch {
    return null;
  }
}
