import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, it } from 'vitest';

const root = path.resolve(import.meta.dirname, '..');
const dockerfile = await readFile(path.join(root, 'deploy', 'Dockerfile'), 'utf8');

interface Workspace {
  folder: string;
  name: string;
  needs: readonly string[];
}

async function readWorkspaces(): Promise<Workspace[]> {
  const inside = async (folder: string) =>
    (await readdir(path.join(root, folder))).map((name) => `${folder}/${name}`);
  const folders = [...(await inside('apps')), ...(await inside('packages')), 'db', 'tests'];
  return Promise.all(
    folders.map(async (folder) => {
      const text = await readFile(path.join(root, folder, 'package.json'), 'utf8');
      const { name, dependencies = {} } = JSON.parse(text) as { name: string; dependencies?: object };
      return { folder, name, needs: Object.keys(dependencies) };
    }),
  );
}

it('the image is built with every package, and keeps those that the server needs', async () => {
  const workspaces = await readWorkspaces();
  const known = [...dockerfile.matchAll(/^COPY (\S+)\/package\.json \1\/$/gm)].map(([, folder]) => folder);
  expect(known.sort()).toEqual(workspaces.map(({ folder }) => folder).sort());

  const kept = JSON.parse(/workspaces=(\[.*?\])'/.exec(dockerfile)?.[1] ?? '[]') as string[];
  const removed = /^RUN rm -rf (.*) \\$/m.exec(dockerfile)?.[1]?.split(' ') ?? [];
  const needed = new Set(['@vmo/server']);
  for (const name of needed)
    for (const other of workspaces.find((one) => one.name === name)?.needs ?? [])
      if (workspaces.some((one) => one.name === other)) needed.add(other);
  const folders = workspaces.filter(({ name }) => needed.has(name)).map(({ folder }) => folder);
  expect(kept.sort()).toEqual(folders.sort());
  expect(folders.filter((folder) => removed.includes(folder))).toEqual([]);
});
