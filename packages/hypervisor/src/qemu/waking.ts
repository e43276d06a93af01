import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import type { GuestAgent } from './agent.ts';

const mib = 1024 * 1024;
const answersMs = 2_000;
/** A guest hears of new parts a moment later; emulated and busy, seconds. */
const seenWithinMs = 5_000;
const lookEveryMs = 100;

const Cpus = z.array(z.object({ 'logical-id': z.int(), online: z.boolean() }));
const Blocks = z.array(z.object({ 'phys-index': z.int(), online: z.boolean() }));
const BlockSize = z.object({ size: z.int() });

/** Where nobody in the guest can say. */
const unsaid = (what: string) => `; whether the guest uses ${what} it cannot say, without a guest agent`;

/**
 * Many systems, Debian among them, leave what is added while they run unused until somebody tells them: so they are told,
 * by their agent, and asked what they use.
 * @param wanted how many there are now
 * @returns what is to be said beside that number: nothing where the guest uses all
 */
export async function wakeCpus(agent: GuestAgent | null, wanted: number): Promise<string> {
  if (!agent) return unsaid('them');
  try {
    const used = await wake(wanted, {
      look: async () => Cpus.parse(await agent.ask('guest-get-vcpus', {}, answersMs)),
      tell: (cpus) => {
        const vcpus = cpus.map((cpu) => ({ 'logical-id': cpu['logical-id'], online: true }));
        return agent.ask('guest-set-vcpus', { vcpus }, answersMs);
      },
    });
    return used >= wanted ? '' : `; the guest uses ${used} of them so far`;
  } catch {
    // The guest's word is only asked for: without it the machine has what it has.
    return unsaid('them');
  }
}

/** The same of memory, in MiB. */
export async function wakeMemory(agent: GuestAgent | null, wantedMib: number): Promise<string> {
  if (!agent) return unsaid('all of it');
  try {
    const { size } = BlockSize.parse(await agent.ask('guest-get-memory-block-info', {}, answersMs));
    const wanted = Math.floor((wantedMib * mib) / size);
    const used = await wake(wanted, {
      look: async () => Blocks.parse(await agent.ask('guest-get-memory-blocks', {}, answersMs)),
      tell: (blocks) => {
        const all = blocks.map((block) => ({ 'phys-index': block['phys-index'], online: true }));
        return agent.ask('guest-set-memory-blocks', { 'mem-blks': all }, answersMs);
      },
    });
    return used >= wanted ? '' : `; the guest uses ${(used * size) / mib} MiB of it so far`;
  } catch {
    return unsaid('all of it');
  }
}

/** @returns how many are used, which is fewer than wanted where the guest does not come so far in time */
async function wake<Part extends { online: boolean }>(
  wanted: number,
  { look, tell }: { look: () => Promise<Part[]>; tell: (asleep: Part[]) => Promise<unknown> },
): Promise<number> {
  const deadline = Date.now() + seenWithinMs;
  for (;;) {
    const parts = await look();
    const asleep = parts.filter(({ online }) => !online);
    const used = parts.length - asleep.length;
    if (used >= wanted || Date.now() > deadline) return used;
    // One that the guest has only just seen may refuse at first.
    if (asleep.length > 0) await tell(asleep).catch(() => undefined);
    await delay(lookEveryMs);
  }
}
