import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FindRow, type Job } from '@vmo/contract';
import type { TestServer } from '@vmo/testkit';
import type { Bench, Part } from './bench.ts';
import { buildLog } from './build-log.ts';
import { repeated } from './figures.ts';
import { ownDirectory, run, startServer } from './jobs.ts';
import { programTime } from './limits.ts';

const megabytes = 100;

interface Query {
  text: string;
  regex?: 'true';
}

/** Reads the answer to its last row. @returns how many matches it tells of */
async function matchesOf(server: TestServer, { id }: Job, query: Query): Promise<number> {
  const response = await server.client.download('findInLog', {
    params: { jobId: id },
    query,
  });
  const text = await response.text();
  const last = FindRow.parse(JSON.parse(text.trimEnd().split('\n').at(-1) ?? ''));
  if (last.type === 'error') throw new Error(`the search failed: ${last.code} ${last.message}`);
  if (last.type !== 'end') throw new Error(`the answer was cut off after a row of type ${last.type}`);
  return last.matches;
}

async function find({ add }: Bench): Promise<void> {
  await using server = await startServer();
  const file = join(await ownDirectory(server), 'build.log');
  await writeFile(file, buildLog(megabytes * 1_000_000));
  const job = await run(server, { command: `cat '${file}'` });
  const searches: { name: string; query: Query; grep: string[] }[] = [
    { name: 'plain words in one line of 9,000', query: { text: 'queue_777' }, grep: ['-icF', 'queue_777'] },
    { name: 'plain words in one line of 20', query: { text: 'warning' }, grep: ['-icF', 'warning'] },
    { name: 'plain words in none', query: { text: 'no such words' }, grep: ['-icF', 'no such words'] },
    {
      name: 'regular expression',
      query: { text: String.raw`warning: unused \w+ '(net|core)_4\d'`, regex: 'true' },
      grep: ['-icE', String.raw`warning: unused \w+ '(net|core)_4[0-9]'`],
    },
  ];
  for (const { name, query, grep } of searches) {
    let matches = 0;
    const values = await repeated(5, async () => {
      const begin = performance.now();
      matches = await matchesOf(server, job, query);
      return (performance.now() - begin) / 1000;
    });
    add({
      name: `find in ${String(megabytes)} MB until the last row: ${name}`,
      unit: 's',
      how: `GET /jobs/:id/find from a Node client; ${String(matches)} matches`,
      values,
      targets: [{ share: 1, atMost: 1 }],
      limits: [
        {
          name: `\`grep ${grep[0] ?? ''}\` over the file`,
          values: await repeated(5, async () => (await programTime('grep', [...grep, file])) / 1000),
        },
      ],
    });
  }
}

export const findPart: Part = { name: 'find', limitSeconds: 120, measure: find };
