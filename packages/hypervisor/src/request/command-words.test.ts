import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryDirectory } from '@vmo/testkit';
import { expect, it } from 'vitest';
import { CommandWords } from './command-words.ts';
import { addLine, emptyReport } from './report.ts';

const commands = [{ run: 'one' }];
const noSizes = () => {
  throw new Error('the report says how much was written');
};

it('have what the console says after them behind them, also when all of it is seen at once', async () => {
  await using home = await temporaryDirectory();
  const words = new CommandWords(join(home.path, 'command'), commands);
  const report = emptyReport();
  words.update(report, 0, noSizes);
  addLine(report, '1.0 hello 1 runner Linux');
  words.update(report, 100, noSizes);
  // Held up, while the guest ran everything and turned itself off.
  for (const line of ['1.5 begin 0', '2.0 end 0 0 4 0', '2.0 over']) addLine(report, line);
  words.update(report, 150, noSizes);
  const text = await readFile(join(home.path, 'command'), 'utf8');
  expect(text).toBe('$ one\nexit 0 after 0.50 s\n');
  expect(words.places).toEqual([
    { command: 6, stdout: 0, stderr: 0, boot: 100 },
    { command: text.length, stdout: 4, stderr: 0, boot: 100 },
  ]);
});

it('have before them what was there when we came to it', async () => {
  await using home = await temporaryDirectory();
  const words = new CommandWords(join(home.path, 'command'), commands);
  const report = emptyReport();
  addLine(report, '1.5 begin 0');
  words.update(report, 150, noSizes);
  addLine(report, '2.0 end 0 0 4 0');
  words.update(report, 200, noSizes);
  expect(words.places.map(({ boot }) => boot)).toEqual([150, 150]);
});
