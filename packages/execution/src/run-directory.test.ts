import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryDirectory, type TemporaryDirectory } from '@vmo/testkit';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  claimBeginning,
  parseExitRecord,
  readExitRecord,
  readIdentity,
  runDirectoryExists,
  signalOfExitCode,
  spoolSizes,
} from './run-directory.ts';

let home: TemporaryDirectory;

beforeEach(async () => {
  home = await temporaryDirectory();
});
afterEach(() => home[Symbol.asyncDispose]());

describe('readIdentity', () => {
  const write = (text: string) => writeFile(join(home.path, 'pid'), text);

  it('reads what the wrapper wrote', async () => {
    await write('pid=4711\nstart=Fri Nov 20 12:00:00 2026 \nboot=abc-def\n');
    expect(await readIdentity(home.path)).toEqual({
      pid: 4711,
      start: 'Fri Nov 20 12:00:00 2026',
      boot: 'abc-def',
    });
  });

  it('knows nobody where nothing was written', async () => {
    expect(await readIdentity(home.path)).toBeNull();
  });

  it.each([
    '',
    'pid=1\nstart=1\nboot=b',
    'pid=0\nstart=1\nboot=b',
    'pid=-1\nstart=1\nboot=b',
    'pid=-4711\nstart=1\nboot=b',
    'pid=4.5\nstart=1\nboot=b',
    'pid=1e400\nstart=1\nboot=b',
    'pid=99999999999999999999\nstart=1\nboot=b',
    'pid=\nstart=1\nboot=b',
    'pid=12x\nstart=1\nboot=b',
    'pid=12\nboot=b',
    'pid=12\nstart=\nboot=b',
    'pid=12\nstart=1',
    '=12\n\0\n===',
  ])('takes %j for nobody: nothing may be signalled after it', async (text) => {
    await write(text);
    expect(await readIdentity(home.path)).toBeNull();
  });

  it('throws when it cannot be read', async () => {
    await mkdir(join(home.path, 'pid'));
    await expect(readIdentity(home.path)).rejects.toThrow(/EISDIR/);
  });
});

describe('readExitRecord', () => {
  it('has none before the end', async () => {
    expect(await readExitRecord(home.path)).toBeNull();
  });

  it('reads how the command ended', async () => {
    await writeFile(join(home.path, 'exit'), 'code=143\nstarted=100.25\nended=101.5\n');
    expect(await readExitRecord(home.path)).toEqual({
      kind: 'exited',
      exitCode: 143,
      signal: 'SIGTERM',
      startedAt: new Date(100_250),
      finishedAt: new Date(101_500),
    });
  });

  it('takes a signal that is named before one that is guessed from the code', () => {
    expect(parseExitRecord('code=1\nsignal=SIGHUP\nstarted=1\nended=2')).toMatchObject({ signal: 'SIGHUP' });
  });

  it('has no run end before it began, when the clock of its disk is ahead', () => {
    const at = new Date(2_000);
    expect(parseExitRecord('code=0\nstarted=3.5\nended=2\n')).toMatchObject({
      startedAt: at,
      finishedAt: at,
    });
  });

  it('takes whole seconds, as systems without nanoseconds print them', () => {
    const record = parseExitRecord('code=0\nstarted=1732104000.N\nended=1732104001.N\n');
    expect(record).toMatchObject({ kind: 'exited', startedAt: new Date(1_732_104_000_000) });
  });

  it.each([
    '',
    'code=0',
    'code=0\nstarted=1',
    'code=\nstarted=1\nended=2',
    'code=256\nstarted=1\nended=2',
    'code=-1\nstarted=1\nended=2',
    'code=1.5\nstarted=1\nended=2',
    'code=zero\nstarted=1\nended=2',
    'code=0\nstarted=x\nended=2',
    'code=0\nstarted=1\nended=1e300',
  ])('says that %j is garbage', (text) => {
    expect(parseExitRecord(text)).toEqual({ kind: 'garbage', words: text });
  });

  it('never throws, and quotes no more than 200 characters', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (text) => {
        const record = parseExitRecord(text);
        if (record.kind === 'garbage') expect(record.words.length).toBeLessThanOrEqual(200);
      }),
    );
  });
});

it('names the signal that a shell means', () => {
  expect([0, 1, 127, 128, 129, 137, 143, 255].map(signalOfExitCode)).toEqual([
    ...[null, null, null, null],
    ...['SIGHUP', 'SIGKILL', 'SIGTERM', null],
  ]);
});

describe('claimBeginning', () => {
  it('is given to one of many', async () => {
    const directory = join(home.path, 'run');
    const claims = await Promise.all(Array.from({ length: 20 }, () => claimBeginning(directory)));
    expect(claims.filter(Boolean)).toHaveLength(1);
  });

  it('throws when nobody can claim', async () => {
    await rm(home.path, { recursive: true });
    await writeFile(home.path, '');
    await expect(claimBeginning(join(home.path, 'run'))).rejects.toThrow(/ENOTDIR/);
    await expect(claimBeginning(home.path)).rejects.toThrow();
  });
});

it('measures the spool, also where there is none', async () => {
  expect(await runDirectoryExists(home.path)).toBe(true);
  expect(await runDirectoryExists(join(home.path, 'nowhere'))).toBe(false);
  expect(spoolSizes(home.path)).toEqual({ stdout: 0, stderr: 0, boot: 0, command: 0 });
  await writeFile(join(home.path, 'stderr'), 'abc');
  expect(spoolSizes(home.path)).toEqual({ stdout: 0, stderr: 3, boot: 0, command: 0 });
});
