import { setTimeout as delay } from 'node:timers/promises';
import { seededRandom, startTestServer } from '@vmo/testkit';
import { expect, it } from 'vitest';
import { figuresOf, isLong, percentile, spread, stopwatch } from './support/figures.ts';
import { followSeq } from './support/follow.ts';
import { becomesReady } from './support/jobs.ts';
import { startLoad } from './support/load.ts';

it('F1: a server that is killed again and again loses no byte and doubles none', async (context) => {
  const figures = figuresOf(context);
  const rounds = isLong ? 200 : 50;
  const random = seededRandom(1);
  await using server = await startTestServer({ embedded: true });
  const load = await startLoad(server, { jobs: 8, bytes: 20_000_000, rounds });
  const [followed] = load.jobs;
  using reader = followSeq(server, followed);
  const ready: number[] = [];
  for (let round = 0; round < rounds; round++) {
    await load.permit();
    // The fault itself: it must hit at any moment.
    await delay(200 + 500 * random());
    await server.kill();
    const elapsed = stopwatch();
    await server.restart();
    await becomesReady(server);
    ready.push(elapsed());
    figures.kills = round + 1;
    figures['ready again'] = spread(ready);
  }
  await load.verify(figures);
  await reader.done;
  figures.reader = `${reader.events} events in order`;
  expect(reader.disorder).toBe(0);
  expect(percentile(ready, 1)).toBeLessThan(3_000);
});
