import { createHash } from 'node:crypto';
import {
  JobId,
  MachineSpec,
  type FreePlaces,
  type ImageCopy,
  type Job,
  type JobSubmission,
  type NeededImage,
} from '@vmo/contract';
import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { newId } from '../kernel/ids.ts';
import { queueOf } from './queue.ts';
import { freeJobs, owner, startCockpit, type Cockpit } from './harness.test.support.ts';

let cockpit: Cockpit;
beforeAll(async () => {
  cockpit = await startCockpit({ withAgent: false });
});
afterAll(() => cockpit[Symbol.asyncDispose]());
beforeEach(async () => {
  await cockpit.db.deleteFrom('jobs').execute();
});

const submit = async (name: string, change: Partial<JobSubmission> = {}): Promise<Job> =>
  (await cockpit.jobs.submit({ ...owner, name }, { command: 'true', ...change })).job;

async function takeOne(agent = 'a'): Promise<string | undefined> {
  return (await cockpit.apiOf(agent).claim(freeJobs(1)))[0]?.id;
}

async function insertPending(count: number, change: Record<string, unknown> = {}, submitters = 20) {
  const ids = Array.from({ length: count }, () => newId());
  for (let from = 0; from < count; from += 1000)
    await cockpit.db
      .insertInto('jobs')
      .values(
        ids.slice(from, from + 1000).map((id, index) => ({
          ...{ id, command: 'true', type: 'stream', status: 'pending', env: '{}' },
          created_by: `submitter ${String(index % submitters)}`,
          ...change,
        })),
      )
      .execute();
  await sql`analyze jobs`.execute(cockpit.db);
  return ids;
}

const machine = MachineSpec.parse({
  ...{ id: newId(), name: 'one', cpus: 1, maxCpus: 1, memoryMib: 64, maxMemoryMib: 64, disks: [] },
  ...{ boot: { from: 'disk' }, network: { mode: 'none' }, display: 'none', arguments: [], request: null },
});

function requestOf(idempotencyKey: string | null) {
  const plan = { commands: [], stopOnFailure: true, env: {}, files: [], artifacts: [] };
  const rest = { plan, timeout: 60, priority: 0, retries: 0, isHeld: false };
  const id = JobId.parse(newId());
  return { id, vmId: null, spec: machine, command: 'a request', request: { ...rest, idempotencyKey } };
}

describe('the queue', () => {
  it('gives higher priority first, then takes turns between submitters, then goes by age', async () => {
    const first = await submit('anna');
    const second = await submit('anna');
    const third = await submit('anna');
    const other = await submit('ben');
    const urgent = await submit('anna', { priority: 5 });
    const idle = await submit('anna', { priority: -1 });
    const places = await Promise.all(
      [urgent, first, other, second, third, idle].map(({ id }) => cockpit.jobs.get(id)),
    );
    expect(places.map(({ place }) => place)).toEqual([1, 2, 3, 4, 5, 6]);
    const taken: (string | undefined)[] = [];
    for (let turn = 0; turn < 6; turn++) taken.push(await takeOne());
    // The urgent one counts among what anna has under way, so it is ben's turn.
    expect(taken).toEqual([urgent, other, first, second, third, idle].map(({ id }) => id));
  });

  it('has all of many machines that are submitted together, or none, and each key once', async () => {
    const told: string[] = [];
    const stop = cockpit.bus.on('job:changed', ({ id }) => void told.push(id));
    const runs = ['a', 'b', null, null, 'c'].map(requestOf);
    const noted: string[] = [];
    const also = (_trx: unknown, created: readonly { id: string }[]) => {
      noted.push(...created.map(({ id }) => id));
      return Promise.resolve();
    };
    const submitAll = (portions: Iterable<typeof runs>) => cockpit.jobs.submitMachines(owner, portions, also);
    await expect(
      submitAll(
        (function* () {
          yield runs.slice(0, 3);
          throw new Error('no more');
        })(),
      ),
    ).rejects.toThrow('no more');
    expect((await cockpit.jobs.list({ limit: 10 })).jobs).toEqual([]);
    expect(told).toEqual([]);

    noted.length = 0;
    const ids = runs.map(({ id }) => id);
    const first = await submitAll([runs.slice(0, 3), runs.slice(3)]);
    expect(first.map(({ job, created }) => [job.id, job.place, created])).toEqual(
      ids.map((id, index) => [id, index + 1, true]),
    );
    expect(noted).toEqual(ids);
    expect(told.toSorted()).toEqual(ids.toSorted());

    noted.length = 0;
    const again = ['c', null, 'a'].map(requestOf);
    const second = await submitAll([again]);
    expect(second.map(({ job, created }) => [job.id, created])).toEqual([
      [ids[4], false],
      [again[1]?.id, true],
      [ids[0], false],
    ]);
    expect(noted).toEqual([again[1]?.id]);
    stop();
  });

  it('has those behind move up as soon as one is taken, cancelled or held', async () => {
    const [first, second, third, last] = [
      await submit('anna'),
      await submit('anna'),
      await submit('anna'),
      await submit('anna'),
    ];
    const placeOfLast = async () => (await cockpit.jobs.get(last.id)).place;
    expect(await placeOfLast()).toBe(4);
    expect(await takeOne()).toBe(first.id);
    expect(await placeOfLast()).toBe(3);
    await cockpit.jobs.cancel(owner, second.id);
    expect(await placeOfLast()).toBe(2);
    await cockpit.jobs.setHold(owner, third.id, true);
    expect(await placeOfLast()).toBe(1);
    await cockpit.jobs.setHold(owner, third.id, false);
    expect(await placeOfLast()).toBe(2);
  });

  it('lets who has more under way wait for the others', async () => {
    for (let turn = 0; turn < 3; turn++) await submit('anna');
    for (let turn = 0; turn < 3; turn++) await takeOne();
    const [more, late, later] = [await submit('anna'), await submit('ben'), await submit('ben')];
    expect([await takeOne(), await takeOne(), await takeOne()]).toEqual([late.id, later.id, more.id]);
  });

  it('does not let a job that fits nobody hold up those behind it', async () => {
    const [large] = await insertPending(1, { need_memory_mib: 4096, created_by: 'anna' });
    const [small] = await insertPending(1, { need_memory_mib: 512, created_by: 'anna' });
    const free: FreePlaces = { ...freeJobs(5), memoryMib: 1024 };
    const taken = await cockpit.apiOf('a').claim(free);
    expect(taken.map(({ id }) => id)).toEqual([small]);
    const left = await cockpit.apiOf('a').claim({ ...free, memoryMib: 8192 });
    expect(left.map(({ id }) => id)).toEqual([large]);
  });

  it('gives no more than fits, by places and memory', async () => {
    await insertPending(20, { need_cpus: 2, need_memory_mib: 100 });
    const claim = (free: Partial<FreePlaces>) => cockpit.apiOf('a').claim({ ...freeJobs(50), ...free });
    expect(await claim({ memoryMib: 450 })).toHaveLength(4);
    expect(await claim({ jobs: 5 })).toHaveLength(5);
    expect(await claim({ jobs: 0 })).toHaveLength(0);
  });

  it('has machines share processors, as many as there are places, and gives none that has more than the agent', async () => {
    const [large] = await insertPending(1, { need_cpus: 3 });
    await insertPending(20, { need_cpus: 2 });
    const taken = await cockpit.apiOf('a').claim({ ...freeJobs(8), cpus: 2 });
    expect(taken).toHaveLength(8);
    expect(taken.map(({ id }) => id)).not.toContain(large);
    expect((await cockpit.apiOf('a').claim({ ...freeJobs(1), cpus: 4 })).map(({ id }) => id)).toEqual([
      large,
    ]);
  });

  it('gives no more machines than may run, those of requests among them', async () => {
    await insertPending(3, { queue: 'here/vms' });
    await insertPending(3, { queue: 'here/requests' });
    const free: FreePlaces = { ...freeJobs(5), vms: 5, requests: 5, machines: 4 };
    expect(await cockpit.apiOf('a').claim(free)).toHaveLength(4);
    expect(await cockpit.apiOf('a').claim({ ...free, machines: 0 })).toHaveLength(0);
  });

  it('gives each agent only what it may take and has the image for', async () => {
    const queue = (name: string) => insertPending(1, { queue: name }).then(([id]) => id);
    const here = await queue('here/jobs');
    const any = await queue('any/jobs');
    const named = await queue('@b/jobs');
    const copyOf = (name: string) => ({
      ...{ name, sha256: createHash('sha256').update(name).digest('hex'), sizeBytes: 1000 },
    });
    const [one, two, three] = [copyOf('alpine.qcow2'), copyOf('debian.qcow2'), copyOf('third')];
    const needs = (...images: NeededImage[]) =>
      queue(queueOf({ takers: { who: 'any' }, place: 'requests', images }));
    const [alpine, debian, both] = [await needs(one), await needs(two), await needs(one, three)];
    const take = async (
      name: string,
      isHere: boolean,
      images: ImageCopy[],
      free: Partial<FreePlaces>,
      bringsUpTo = 0,
    ) => {
      const api = cockpit.jobs.agentApi({ id: null, name, isHere, images, bringsUpTo });
      return (await api.claim({ ...freeJobs(0), ...free })).map(({ id }) => id);
    };
    expect(await take('c', false, [], { vms: 5, requests: 5 })).toEqual([]);
    // By what is in it, whatever it is called.
    expect(await take('c', false, [{ ...one, name: 'mine' }], { requests: 5 })).toEqual([alpine]);
    expect(await take('b', false, [two], { jobs: 1 })).toEqual([any]);
    expect(await take('b', false, [two], { jobs: 5, requests: 1 })).toEqual(
      expect.arrayContaining([named, debian]),
    );
    // One of the two is larger than what it brings, until it has that one.
    expect(await take('c', false, [], { requests: 5 }, 999)).toEqual([]);
    expect(await take('c', false, [one], { requests: 5 }, 999)).toEqual([]);
    expect(await take('c', false, [one], { requests: 5 }, 1000)).toEqual([both]);
    const last = await needs(three);
    expect(await take('local', true, [], { jobs: 5, requests: 5 })).toEqual([here, last]);
  });

  it('never gives a job twice, and none away unasked, to 8 agents that take at once', async () => {
    const total = 1_000;
    await insertPending(total);
    const taken: string[] = [];
    await Promise.all(
      Array.from({ length: 8 }, async (_, index) => {
        const api = cockpit.apiOf(`agent ${String(index)}`);
        for (;;) {
          const jobs = await api.claim(freeJobs(5));
          if (jobs.length === 0) return;
          taken.push(...jobs.map(({ id }) => id));
        }
      }),
    );
    expect(taken).toHaveLength(total);
    expect(new Set(taken).size).toBe(total);
  });

  it('finds the first of ten thousand without reading the others', async () => {
    await insertPending(10_000, {}, 50);
    const plan = await sql<{ 'QUERY PLAN': string }>`
      explain (analyze, buffers, costs off)
      select id from jobs where status = 'pending' and queue = 'here/jobs' and -priority = 0 and created_by = 'submitter 7'
      order by id limit 20`.execute(cockpit.db);
    expect(plan.rows.map((row) => row['QUERY PLAN']).join('\n')).toContain('idx_jobs_queue');
    expect(await cockpit.apiOf('a').claim(freeJobs(3))).toHaveLength(3);
  });
});
