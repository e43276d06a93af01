import { describe, expect, it } from 'vitest';
import { blockLines, LineStore } from './line-store.ts';
import { ts } from './testing.ts';

const pageOf = (from: number, count: number, length: number, total = 1_000_000, text = 'x'.repeat(100)) => ({
  from,
  lines: Array.from({ length }, (_, index) => ({
    number: from + index,
    stream: 'stdout' as const,
    ts,
    text,
    style: '\x1b[0;1m',
    cut: false,
    open: false,
  })),
  count,
  lineCount: total,
  lastSeq: 9,
});

describe('a store of a million lines', () => {
  it('knows what it has, what is missing, and how much that is', () => {
    const store = new LineStore();
    store.count = 1_000_000;
    store.put(pageOf(999_701, 1_000_000, 300));
    expect(store.at(999_701)).toMatchObject({ number: 999_701, style: { flags: 1 } });
    expect(store.at(999_700)).toBeNull();
    expect(store.gapAbove(999_700)).toBe(999_700);
    expect(store.missing([999_960, 1_000_000, 1_000_001, 0])).toEqual([]);
    expect(store.missing([500_010, 499_990])).toEqual([1953]);
    expect(store.missing([257, 256, 255])).toEqual([1, 0]);
  });

  it('lets go what was out of sight for the longest, never what is in sight or at the end', () => {
    const store = new LineStore();
    store.count = 1_000_000;
    store.put(pageOf(1_000_000, 1_000_000, 1));
    for (let block = 0; block < 1000; block++) {
      store.put(pageOf(block * blockLines + 1, 1_000_000, blockLines));
      store.see([block * blockLines + 1]);
    }
    expect(store.lines).toBeLessThanOrEqual(160_000);
    expect(store.characters).toBeLessThanOrEqual(24 * 1024 * 1024);
    expect(store.at(1)).toBeNull();
    expect(store.at(999 * blockLines + 1)).not.toBeNull();
    expect(store.at(1_000_000)).not.toBeNull();
  });

  it('does not ask for ever for what the server has no more', () => {
    const store = new LineStore();
    store.count = 1000;
    store.noteAbsent(257, 300);
    expect(store.missing([1, 300, 600])).toEqual([0, 2]);
    expect(store.isAbsent(300)).toBe(true);
    expect(store.isAbsent(1)).toBe(false);
    // The rest of its block is there, and was only not loaded yet.
    expect(store.isAbsent(301)).toBe(false);
    expect(store.missing([300, 301])).toEqual([1]);
  });
});
