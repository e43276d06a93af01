import { mkdtemp, lstat, readFile, readlink, rm } from 'node:fs/promises';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { writeCpio, type CpioEntry } from './cpio.ts';

const entries: CpioEntry[] = [
  { name: 'folder', kind: 'directory' },
  { name: 'folder/script', kind: 'file', content: Buffer.from('#!/bin/sh\n'), executable: true },
  ...[0, 1, 2, 3, 4, 5].map((length): CpioEntry => {
    const content = Buffer.alloc(length, 'x');
    return { name: `f${'n'.repeat(length)}`, kind: 'file', content, executable: false };
  }),
  { name: 'link', kind: 'link', target: 'folder/script' },
];

it('writes an archive that another program unpacks', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'vmo-cpio-'));
  try {
    const busybox = spawn('busybox', ['cpio', '-i', '-d'], {
      cwd: folder,
      stdio: ['pipe', 'ignore', 'inherit'],
    });
    busybox.stdin.end(writeCpio(entries));
    expect(await once(busybox, 'close')).toEqual([0, null]);
    expect(await readFile(join(folder, 'folder/script'), 'utf8')).toBe('#!/bin/sh\n');
    expect((await lstat(join(folder, 'folder/script'))).mode & 0o777).toBe(0o755);
    expect(await readlink(join(folder, 'link'))).toBe('folder/script');
    for (const length of [0, 1, 2, 3, 4, 5]) {
      expect(await readFile(join(folder, `f${'n'.repeat(length)}`), 'utf8')).toBe('x'.repeat(length));
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});

it('gives the same bytes for the same entries', () => {
  expect(writeCpio(entries).equals(writeCpio(entries))).toBe(true);
  expect(writeCpio(entries).length % 4).toBe(0);
});
