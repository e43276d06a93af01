import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';

/** Written by `examples.test.ts`, which asks a real server for each of them. */
export const examplesFile = join(import.meta.dirname, 'examples.json');

export const Example = z.object({
  params: z.record(z.string(), z.unknown()).optional(),
  query: z.record(z.string(), z.unknown()).optional(),
  body: z.unknown().optional(),
  status: z.int(),
  answer: z.unknown().optional(),
});
export type Example = z.infer<typeof Example>;

/** By the names of routes. */
export const Examples = z.record(z.string(), Example);

export const readExamples = (): Readonly<Record<string, Example>> =>
  Examples.parse(JSON.parse(readFileSync(examplesFile, 'utf8')));
