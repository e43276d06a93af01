import type { Client } from '@vmo/client';
import {
  JobId,
  VmName,
  type Job,
  type SimulationRequest,
  type VmStatus,
  type VmSummary,
} from '@vmo/contract';
import { CliError, exitCodes } from './exit-codes.ts';
import { agoWords } from './output/words.ts';
import { cut, oneLine } from './output/table.ts';

/** Ids are UUIDs of version 7, so that those beginning alike follow one another: the last one that a prefix can mean. */
const lastId = 'ffffffff-ffff-7fff-bfff-ffffffffffff';
const mostNear = 5;
/** The server looks for no less. */
const leastOfRequest = 4;

/** So much of an id as tables show: the time in milliseconds and what tells apart ids of the same one. */
export const shortId = (id: string): string => id.slice(0, 18);

const nearWords = (name: string, what: string, at: string) =>
  `  ${name}  ${cut(oneLine(what), 50)}, ${agoWords(at)}`;

/** The dashes of a UUID where they belong, however it was typed; null: it is no beginning of one. */
function normalise(text: string): string | null {
  const digits = text.toLowerCase().replaceAll('-', '');
  if (!/^[0-9a-f]{1,32}$/.test(digits)) return null;
  return [
    digits.slice(0, 8),
    digits.slice(8, 12),
    digits.slice(12, 16),
    digits.slice(16, 20),
    digits.slice(20),
  ]
    .filter((part) => part !== '')
    .join('-');
}

/** How many characters two words begin with alike. */
function alike(one: string, other: string): number {
  let at = 0;
  while (at < one.length && one[at] === other[at]) at += 1;
  return at;
}

/** What has ids, and how to ask for it. */
interface Listing<T> {
  /** “job”. */
  thing: string;
  idOf: (row: T) => string;
  words: (row: T) => string;
  createdAt: (row: T) => string;
  get: (id: JobId) => Promise<T>;
  /** Those that this may mean, so many at most. */
  matching: (prefix: string, limit: number) => Promise<readonly T[]>;
  /** The newest, to say which are near. */
  recent: () => Promise<readonly T[]>;
}

/**
 * The one thing that an id, or the beginning of one, means.
 * @throws CliError notFound, with those that are near, or with those that it could mean
 */
async function findById<T>(listing: Listing<T>, text: string): Promise<T> {
  const { thing, idOf } = listing;
  const prefix = normalise(text);
  if (prefix === null) {
    throw new CliError(
      `${JSON.stringify(text)} is no id of a ${thing}, nor the beginning of one: these are digits and the letters a to f`,
      exitCodes.usage,
    );
  }
  const whole = JobId.safeParse(prefix);
  if (whole.success) return await listing.get(whole.data);
  const found = await listing.matching(prefix, mostNear + 1);
  const [only, another] = found;
  if (only && !another) return only;
  const words = (row: T) => nearWords(idOf(row), listing.words(row), listing.createdAt(row));
  if (only) {
    const more = found.length > mostNear ? ['  …'] : [];
    throw new CliError(`several ${thing}s begin with ${prefix}: give more of the id`, exitCodes.notFound, {
      hints: [...found.slice(0, mostNear).map(words), ...more],
    });
  }
  const near = [...(await listing.recent())]
    .sort((a, b) => alike(idOf(b), prefix) - alike(idOf(a), prefix))
    .slice(0, 3);
  throw new CliError(`no ${thing} begins with ${prefix}`, exitCodes.notFound, {
    hints: near.length === 0 ? [`There is no ${thing} yet.`] : ['Near to it:', ...near.map(words)],
  });
}

/** @throws as {@link findById} */
export function findJob(client: Client, text: string): Promise<Job> {
  const list = async (query: { limit: number; before?: JobId }) =>
    (await client.call('listJobs', { query })).jobs;
  return findById(
    {
      thing: 'job',
      idOf: ({ id }) => id,
      words: ({ command, status }) => `${status}: ${command}`,
      createdAt: ({ createdAt }) => createdAt,
      get: async (jobId) => (await client.call('getJob', { params: { jobId } })).job,
      matching: async (prefix, limit) => {
        // The id above all that it can mean. One that is none, as with a wrong version, begins nothing.
        const before = JobId.safeParse(prefix + lastId.slice(prefix.length));
        const rows = before.success ? await list({ limit, before: before.data }) : [];
        return rows.filter(({ id }) => id.startsWith(prefix));
      },
      recent: () => list({ limit: 100 }),
    },
    text,
  );
}

/** @throws as {@link findById} */
export function findRequest(client: Client, text: string): Promise<SimulationRequest> {
  const list = async (query: { limit: number; uuid?: string }) =>
    (await client.call('listRequests', { query })).requests;
  return findById(
    {
      thing: 'request',
      idOf: ({ uuid }) => uuid,
      words: ({ vm_name: name, status }) => `${status}: ${name}`,
      createdAt: ({ created_at: at }) => at,
      get: (requestId) => client.call('getRequest', { params: { requestId } }),
      matching: async (prefix, limit) => {
        if (prefix.length < leastOfRequest) {
          throw new CliError(
            `give ${String(leastOfRequest)} or more characters of the uuid`,
            exitCodes.usage,
          );
        }
        // The server looks at ends of ids as well.
        const rows = await list({ uuid: prefix, limit: limit * 10 });
        return rows.filter(({ uuid }) => uuid.startsWith(prefix)).slice(0, limit);
      },
      recent: () => list({ limit: 100 }),
    },
    text,
  );
}

/** Steps from one word to the other: letters added, left out or exchanged. */
function distance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let at = 0; at < one.length; at += 1) {
    const next = [at + 1];
    for (let index = 0; index < other.length; index += 1) {
      const change = (row[index] ?? 0) + (one[at] === other[index] ? 0 : 1);
      next.push(Math.min(change, (row[index + 1] ?? 0) + 1, (next[index] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}

export interface VmListFilter {
  status?: VmStatus;
  q?: string;
}

/** Every machine that the filter lets through, by name. */
export async function listAllVms(client: Client, filter: VmListFilter = {}): Promise<VmSummary[]> {
  const all: VmSummary[] = [];
  let after: string | null = null;
  do {
    const query: VmListFilter & { limit: number; after?: string } = { limit: 1000, ...filter };
    if (after !== null) query.after = after;
    const page = await client.call('listVms', { query });
    all.push(...page.vms);
    after = page.nextAfter;
  } while (after !== null);
  return all;
}

/**
 * The machine of this name, or whose id begins so.
 * @throws CliError notFound with names that are near
 */
export async function findVm(client: Client, text: string): Promise<VmSummary> {
  if (VmName.safeParse(text).success) {
    const { vms } = await client.call('listVms', { query: { q: text, limit: 1000 } });
    const named = vms.find(({ name }) => name === text);
    if (named) return named;
  }
  const all = await listAllVms(client);
  const prefix = normalise(text);
  const found = prefix === null ? [] : all.filter(({ id }) => id.startsWith(prefix));
  if (found.length === 1 && found[0]) return found[0];
  const hints =
    found.length > 1
      ? ['It could mean:', ...found.slice(0, mostNear).map(({ id, name }) => `  ${id}  ${name}`)]
      : nearestNames(
          text,
          all.map(({ name }) => name),
        );
  const words =
    found.length > 1 ? `several machines have an id that begins with ${text}` : `there is no machine ${text}`;
  throw new CliError(words, exitCodes.notFound, { hints });
}

function nearestNames(text: string, names: readonly string[]): string[] {
  if (names.length === 0) return ['There are no machines yet: vmo vm create, or vmo vm try.'];
  const wanted = text.toLowerCase();
  const near = names
    .map((name) => {
      const lower = name.toLowerCase();
      return { name, score: lower.includes(wanted) || wanted.includes(lower) ? 0 : distance(lower, wanted) };
    })
    .filter(({ score, name }) => score <= Math.max(2, name.length / 2))
    .sort((a, b) => a.score - b.score)
    .slice(0, 3);
  return near.length === 0
    ? ['vmo vm list shows them all.']
    : [`Near to it: ${near.map(({ name }) => name).join(', ')}`];
}
