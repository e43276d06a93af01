import { DriverError } from '../driver.ts';
import { isQmpEvent } from '../qmp/command.ts';
import type { GuestAgent } from './agent.ts';
import type { Talk } from './talk.ts';
import { wakeCpus, wakeMemory } from './waking.ts';

const mib = 1024 * 1024;
/** A guest takes memory block by block; after this long without one more, it is told how far it has come. */
const patienceMs = 10_000;
/** The balloon leaves so much: below, the guest's own kernel begins to kill. */
const balloonFloorMib = 64;
const balloonFloorShare = 4;

export interface ResizeChange {
  cpus?: number;
  memoryMib?: number;
  balloonMib?: number;
}

interface Memory {
  baseMib: number;
  /** null: the machine was started without memory that can grow. */
  more: { id: string; maxMib: number; nowMib: number; blockMib: number } | null;
}

/** The guest's agent, where it is there. */
type Agent = () => Promise<GuestAgent | null>;

/** First all that is impossible is said; then it is done in order. */
export async function resize(talk: Talk, agent: Agent, change: ResizeChange): Promise<string> {
  const steps: (() => Promise<string>)[] = [];
  if (change.cpus !== undefined) steps.push(await planCpus(talk, agent, change.cpus));
  const memory = await readMemory(talk);
  if (change.memoryMib !== undefined) steps.push(planMemory(talk, agent, memory, change.memoryMib));
  if (change.balloonMib !== undefined)
    steps.push(await planBalloon(talk, memory, change.balloonMib, change.memoryMib));
  const words: string[] = [];
  for (const step of steps) words.push(await step());
  return words.join('; ');
}

async function planCpus(talk: Talk, agent: Agent, wanted: number): Promise<() => Promise<string>> {
  const slots = await talk.execute('query-hotpluggable-cpus');
  const present = slots.filter((slot) => slot['qom-path'] !== undefined).length;
  if (wanted < present) {
    throw new DriverError(
      'impossible',
      `it has ${present} CPUs, and none can be taken away while it runs: a guest that does not let go of one may hang. Stop it, then change it`,
    );
  }
  if (wanted > slots.length) {
    throw new DriverError(
      'impossible',
      `it was started for at most ${slots.length} CPUs: stop it to change that`,
    );
  }
  return async () => {
    // QEMU lists the last place first; they are filled from the first on.
    const free = slots.filter((slot) => slot['qom-path'] === undefined).reverse();
    for (const [index, { type, props }] of free.slice(0, wanted - present).entries())
      await talk.execute('device_add', { driver: type, id: `cpu${present + index}`, ...props });
    return `${wanted} CPUs${await wakeCpus(await agent(), wanted)}`;
  };
}

async function readMemory({ execute }: Talk): Promise<Memory> {
  const { 'base-memory': base } = await execute('query-memory-size-summary');
  for (const device of await execute('query-memory-devices')) {
    if (device.type !== 'virtio-mem') continue;
    const { id, 'max-size': max, size, 'block-size': block } = device.data;
    if (id !== undefined)
      return {
        baseMib: base / mib,
        more: { id, maxMib: max / mib, nowMib: size / mib, blockMib: block / mib },
      };
  }
  return { baseMib: base / mib, more: null };
}

function planMemory(
  talk: Talk,
  agent: Agent,
  { baseMib, more }: Memory,
  wanted: number,
): () => Promise<string> {
  if (wanted < baseMib) {
    throw new DriverError(
      'impossible',
      `it was started with ${baseMib} MiB, of which none can be taken away while it runs: the balloon can ask the guest to use less`,
    );
  }
  if (!more) {
    if (wanted === baseMib) return async () => `${baseMib} MiB of memory, as before`;
    throw new DriverError(
      'impossible',
      'it was started without memory that can grow: stop it, and give it a maximum',
    );
  }
  if (wanted > baseMib + more.maxMib)
    throw new DriverError('impossible', `it was started for at most ${baseMib + more.maxMib} MiB`);
  const requested = Math.ceil((wanted - baseMib) / more.blockMib) * more.blockMib;
  return async () => {
    const device = `/machine/peripheral/${more.id}`;
    const before = more.nowMib;
    let changed = nextSize(talk);
    await talk.execute('qom-set', { path: device, property: 'requested-size', value: requested * mib });
    for (;;) {
      const now = (await readMemory(talk)).more?.nowMib ?? 0;
      if (now === requested) {
        const said = requested > before ? await wakeMemory(await agent(), baseMib + now) : '';
        return `${baseMib + now} MiB of memory${said}`;
      }
      if ((await changed) === null) {
        const has = `the guest has ${baseMib + now} MiB so far`;
        return `${wanted} MiB of memory asked for; ${has}, and takes the rest when it can`;
      }
      changed = nextSize(talk);
    }
  };
}

const nextSize = (talk: Talk): Promise<true | null> =>
  talk.waitFor((event) => (isQmpEvent(event, 'MEMORY_DEVICE_SIZE_CHANGE') ? true : null), patienceMs);
const nextBalloon = (talk: Talk): Promise<true | null> =>
  talk.waitFor((event) => (isQmpEvent(event, 'BALLOON_CHANGE') ? true : null), patienceMs);

/** The balloon is in the memory of the start; what was added later is left alone. */
async function planBalloon(
  talk: Talk,
  { baseMib, more }: Memory,
  wanted: number,
  memoryMib: number | undefined,
): Promise<() => Promise<string>> {
  const added = memoryMib === undefined ? (more?.nowMib ?? 0) : Math.max(memoryMib - baseMib, 0);
  const floor = Math.max(balloonFloorMib, Math.floor(baseMib / balloonFloorShare)) + added;
  if (wanted < floor)
    throw new DriverError(
      'impossible',
      `the guest keeps at least ${floor} MiB: with less its kernel would kill programs`,
    );
  if (wanted > baseMib + added)
    throw new DriverError('impossible', `it has ${baseMib + added} MiB: a balloon cannot give it more`);
  if ((await balloonMib(talk)) === null) throw new DriverError('impossible', 'it has no balloon');
  return async () => {
    const target = wanted - added;
    let changed = nextBalloon(talk);
    await talk.execute('balloon', { value: target * mib });
    for (;;) {
      const now = await balloonMib(talk);
      if (now === target) return `the guest keeps ${wanted} MiB`;
      if ((await changed) === null)
        return `the guest was asked to keep ${wanted} MiB; it keeps ${(now ?? baseMib) + added} MiB so far`;
      changed = nextBalloon(talk);
    }
  };
}

/** Of the memory of the start, what the balloon leaves. null: there is none. */
async function balloonMib({ execute }: Talk): Promise<number | null> {
  try {
    return Math.round((await execute('query-balloon')).actual / mib);
  } catch (error) {
    if (error instanceof DriverError && error.problem === 'refused') return null;
    throw error;
  }
}

export async function guestMemoryMib(talk: Talk): Promise<number> {
  const { baseMib, more } = await readMemory(talk);
  return ((await balloonMib(talk)) ?? baseMib) + (more?.nowMib ?? 0);
}
