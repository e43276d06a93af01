import type { LogStream } from '@vmo/contract';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LogRows } from './log-rows.ts';

const event = (seq: number, chunk: string, stream: LogStream = 'stdout') => ({
  seq,
  chunk,
  stream,
  ts: '2026-01-02T03:04:05.678Z',
});
function look(rows: LogRows): string[] {
  return Array.from({ length: rows.count }, (_, index) => {
    const row = rows.at(index);
    expect(rows.raw(index)).toBe(row.kind === 'gap' ? null : row.lines.raw(row.line));
    expect(rows.columns(index)).toBe(row.kind === 'gap' ? 0 : row.lines.columns(row.line));
    if (row.kind === 'gap') return `gap ${String(row.fromSeq)}–${String(row.toSeq)}`;
    return `${row.number === null ? '·' : String(row.number)} ${row.lines.raw(row.line)}`;
  });
}
const never = () => false;

describe('rows', () => {
  it('are the lines, numbered from 1', () => {
    const rows = new LogRows();
    rows.append(event(1, 'a\nb'));
    rows.append(event(2, 'c\n'));
    expect(look(rows)).toEqual(['1 a', '2 bc']);
  });

  it('ignore what they have already', () => {
    const rows = new LogRows();
    rows.append(event(1, 'a\n'));
    rows.append(event(1, 'a\n'));
    expect(look(rows)).toEqual(['1 a']);
  });

  it('show a gap where events were left out, and no numbers after it', () => {
    const rows = new LogRows();
    rows.append(event(1, 'a\n'));
    rows.skip(9);
    expect(look(rows)).toEqual(['1 a', 'gap 2–9']);
    rows.skip(12);
    rows.append(event(13, 'z\n'));
    expect(look(rows)).toEqual(['1 a', 'gap 2–12', '· z']);
    expect(rows.indexOfNumber(2)).toBeNull();
  });

  it('begin with a gap when only the end was asked for', () => {
    const rows = new LogRows(100);
    rows.append(event(100, 'z\n'));
    expect(look(rows)).toEqual(['gap 1–99', '· z']);
    expect(rows.gap).toEqual({ fromSeq: 1, toSeq: 99 });
  });

  it('fill a gap, join the lines that it had cut, and number the rest', () => {
    const rows = new LogRows();
    rows.append(event(1, 'a\nb'));
    rows.skip(3);
    rows.append(event(4, 'B\nz\n'));
    const reading = rows.refAt(4);
    rows.fill(event(2, 'bb\nc\n'));
    expect(look(rows)).toEqual(['1 a', '2 bbb', '3 c', 'gap 3–3', '· B', '· z']);
    rows.fill(event(3, 'd'));
    expect(rows.merge(never)).toBe(true);
    expect(look(rows)).toEqual(['1 a', '2 bbb', '3 c', '4 dB', '5 z']);
    expect(reading && rows.indexOf(reading)).toBe(4);
  });

  it('keep showing what there was until a merge is done, and take live events meanwhile', () => {
    const rows = new LogRows();
    rows.append(event(1, 'a\n'));
    rows.skip(2);
    for (let seq = 3; seq < 8; seq++) rows.append(event(seq, `${String(seq)}\n`));
    rows.fill(event(2, '2\n'));
    expect(rows.merge(() => true)).toBe(false);
    expect(look(rows).slice(0, 4)).toEqual(['1 a', '2 2', 'gap 3–2', '· 3']);
    rows.append(event(8, '8\n'));
    expect(rows.merge(never)).toBe(true);
    expect(look(rows)).toEqual(['1 a', '2 2', '3 3', '4 4', '5 5', '6 6', '7 7', '8 8']);
  });

  it('filter by stream and keep the numbers', () => {
    const rows = new LogRows();
    rows.append(event(1, 'a\n'));
    rows.append(event(2, 'e\n', 'stderr'));
    rows.append(event(3, 'b\n'));
    rows.setHidden(new Set(['stdout']));
    expect(look(rows)).toEqual(['2 e']);
    rows.append(event(4, 'c\n'));
    rows.append(event(5, 'f\n', 'stderr'));
    expect(look(rows)).toEqual(['2 e', '5 f']);
    expect(rows.indexOfNumber(1)).toBeNull();
    expect(rows.indexOfNumber(5)).toBe(1);
    const reading = rows.refAt(1);
    rows.setHidden(new Set());
    expect(look(rows)).toHaveLength(5);
    expect(reading && rows.indexOf(reading)).toBe(4);
  });

  it('report changes of older lines by row', () => {
    const rows = new LogRows();
    rows.append(event(1, 'e\n', 'stderr'));
    rows.append(event(2, 'a'));
    rows.setHidden(new Set(['stderr']));
    rows.takeChanged();
    rows.append(event(3, 'b'));
    expect(rows.takeChanged()).toEqual([0]);
  });

  it('are the same in the end, whatever was left out and filled in', () => {
    const chunk = fc.constantFrom('a', 'b\n', '\n', 'c\nd', 'e\nf\n');
    const stream = fc.constantFrom<LogStream>('stdout', 'stderr', 'system');
    fc.assert(
      fc.property(fc.array(fc.tuple(chunk, stream, fc.boolean()), { minLength: 1, maxLength: 30 }), (all) => {
        const events = all.map(([text, from], index) => event(index + 1, text, from));
        const whole = new LogRows();
        for (const each of events) whole.append(each);
        const rows = new LogRows();
        for (const [index, each] of events.entries()) {
          if (all[index]?.[2]) rows.skip(each.seq);
          else rows.append(each);
        }
        for (let gap = rows.gap; gap; gap = rows.gap) {
          for (let seq = gap.fromSeq; seq <= gap.toSeq; seq++) {
            const each = events[seq - 1];
            if (each) rows.fill(each);
          }
          rows.merge(never);
        }
        expect(look(rows)).toEqual(look(whole));
      }),
    );
  });
});
