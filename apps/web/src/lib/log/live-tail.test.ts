import type { LogStream } from '@vmo/contract';
import { lineText, plainStyle, renderLine, scanStyle, type Style } from '@vmo/ansi';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LineStore } from './line-store.ts';
import { LiveTail, mostOfLiveLine } from './live-tail.ts';
import { FakeLog } from './testing.ts';

function opened(log: FakeLog, from = 1, limit = 1000, streams: readonly LogStream[] | null = null) {
  const store = new LineStore(streams && new Set(streams));
  return { store, tail: new LiveTail(store, log.page(from, limit, streams)) };
}
const texts = (store: LineStore): (string | null)[] =>
  Array.from({ length: store.count }, (_, index) => {
    const line = store.at(index + 1);
    return line && `${String(line.number)} ${line.stream}: ${lineText(line.raw)}`;
  });

const styles = (store: LineStore) =>
  Array.from({ length: store.count }, (_, index) => store.at(index + 1)?.style);

/** The style that each line begins with when all of its stream is read from the start. */
function played(log: FakeLog): Style[] {
  const on = new Map<LogStream, Style>();
  return log.lines.map(({ stream, text }) => {
    const style = on.get(stream) ?? plainStyle;
    on.set(stream, scanStyle(text, 0, style).style);
    return style;
  });
}

const piece = fc.constantFrom(
  'a',
  'bc',
  '\n',
  '\r',
  '\r\n',
  '\x1b[31m',
  '\x1b[0m',
  '\x1b[1;4',
  'm',
  '\x1b',
  '[K',
  '日',
);
const write = fc.record({
  stream: fc.constantFrom<LogStream>('stdout', 'stderr', 'system'),
  chunk: fc.array(piece, { minLength: 1, maxLength: 5 }).map((pieces) => pieces.join('')),
});

describe('events after a page', () => {
  it('make the same lines as the page of the whole log, wherever the page ended', () => {
    fc.assert(
      fc.property(fc.array(write, { maxLength: 30 }), fc.nat(30), (writes, cut) => {
        const log = new FakeLog();
        for (const { stream, chunk } of writes.slice(0, cut)) log.write(stream, chunk);
        const { store, tail } = opened(log);
        for (const { stream, chunk } of writes.slice(cut)) tail.append(log.write(stream, chunk));
        expect(store.lineCount).toBe(log.lines.length);
        expect(texts(store)).toEqual(
          log.lines.map((line) => `${String(line.number)} ${line.stream}: ${lineText(line.text)}`),
        );
        expect(styles(store)).toEqual(played(log));
      }),
    );
  });

  it('count only the streams that are shown', () => {
    const log = new FakeLog();
    log.write('stdout', 'a\n');
    log.write('stderr', 'b\n');
    const { store, tail } = opened(log, 1, 10, ['stderr']);
    tail.append(log.write('stdout', 'c\nd\n'));
    tail.append(log.write('stderr', 'e\nf'));
    tail.append(log.write('stdout', 'g'));
    tail.append(log.write('stderr', 'f\n'));
    expect(texts(store)).toEqual(['2 stderr: b', '5 stderr: e', '6 stderr: ff']);
    expect(store.lineCount).toBe(7);
    expect(store.positionOf(5)).toBe(2);
    expect(store.positionOf(4)).toBeNull();
    expect(store.positionFrom(3)).toBe(2);
  });

  it('are taken once, also when a page held them already', () => {
    const log = new FakeLog();
    const first = log.write('stdout', 'a');
    const { store, tail } = opened(log);
    tail.append(first);
    expect(texts(store)).toEqual(['1 stdout: a']);
  });

  it('keep the style of their own stream', () => {
    const log = new FakeLog();
    log.write('stdout', '\x1b[31mred\n');
    const { store, tail } = opened(log);
    tail.append(log.write('stderr', 'plain\n'));
    tail.append(log.write('stdout', 'still red\x1b'));
    tail.append(log.write('stdout', '[0m\nplain\n'));
    expect([2, 3, 4].map((position) => store.at(position)?.style.fg)).toEqual([-1, 1, -1]);
  });
});

describe('events that are left out', () => {
  it('leave their styles to the lines that come', () => {
    fc.assert(
      fc.property(fc.array(write, { maxLength: 30 }), fc.nat(30), fc.nat(30), (writes, from, to) => {
        const log = new FakeLog();
        const { store, tail } = opened(log);
        const events = writes.map(({ stream, chunk }) => log.write(stream, chunk));
        for (const event of events.slice(0, from)) tail.append(event);
        if (to > from) tail.leaveOut(Math.min(to, events.length));
        for (const event of events.slice(from)) tail.append(event);
        const expected = played(log);
        for (const [index, style] of styles(store).entries())
          if (style) expect(style).toEqual(expected[index]);
      }),
    );
  });

  it('do not take from the line that comes next what they had of theirs', () => {
    const log = new FakeLog();
    const { store, tail } = opened(log);
    tail.append(log.write('stdout', 'half of a line'));
    tail.leaveOut(log.write('stdout', ' and half\n').seq);
    tail.append(log.write('stdout', '\x1b[31mred\nstill red\n'));
    expect(store.at(3)?.style.fg).toBe(1);
  });

  it('tell what a line of which only the beginning is here leaves on', () => {
    const log = new FakeLog();
    const { store, tail } = opened(log);
    for (let turn = 0; turn < 3; turn++) tail.append(log.write('stdout', 'x'.repeat(50_000)));
    tail.append(log.write('stdout', 'x\x1b[3'));
    tail.append(log.write('stdout', '1mred\nstill red\n'));
    expect(store.at(1)?.cut).toBe(true);
    expect(store.at(2)?.style.fg).toBe(1);
  });

  it('leave lines that are not here, and what was unfinished is asked for again', () => {
    const log = new FakeLog();
    log.write('stdout', 'a\nhalf');
    const { store, tail } = opened(log);
    log.write('stdout', ' and half\nc\nd\ne');
    tail.leaveOut(2);
    tail.append(log.write('stdout', 'e\nf\n'));
    expect(texts(store)).toEqual(['1 stdout: a', null, null, null, null, '6 stdout: f']);
    expect(store.gapAbove(5)).toBe(4);
    expect(store.missing([1, 2, 3, 4, 5, 6])).toEqual([0]);
    tail.put(log.page(1, 256));
    expect(texts(store)[4]).toBe('5 stdout: ee');
    expect(store.missing([1, 2, 3, 4, 5, 6])).toEqual([]);
  });

  it('an answer that is older than what came since does not bring an unfinished line back', () => {
    const log = new FakeLog();
    log.write('stdout', 'a');
    const old = log.page(1, 256);
    const { store, tail } = opened(log);
    tail.append(log.write('stdout', 'b'));
    store.forget(1);
    tail.put(old);
    expect(store.at(1)).toBeNull();
    tail.put(log.page(1, 256));
    tail.append(log.write('stdout', 'c'));
    expect(texts(store)).toEqual(['1 stdout: abc']);
  });

  it('an answer that is ahead of the events doubles nothing', () => {
    const log = new FakeLog();
    log.write('stdout', 'a\nb');
    const { store, tail } = opened(log);
    const next = log.write('stdout', 'c');
    const after = log.write('stdout', 'd\ne\n');
    tail.put(log.page(1, 256));
    tail.append(next);
    tail.append(after);
    expect(texts(store)).toEqual(['1 stdout: a', '2 stdout: bcd', '3 stdout: e']);
  });
});

describe('size', () => {
  it('of a progress bar is that of one drawing, however often it is redrawn', () => {
    const log = new FakeLog();
    const { store, tail } = opened(log);
    for (let step = 0; step < 20_000; step++) {
      const chunk = `\r\x1b[32m${'='.repeat(step % 60)}>\x1b[0m ${String(step)}\x1b[K`;
      const seq = step + 1;
      tail.append({ ...log.write('stderr', 'x'), seq, chunk, linesBefore: step === 0 ? 0 : 1 });
    }
    expect(store.count).toBe(1);
    expect(store.characters).toBeLessThan(32 * 1024);
    expect(lineText(store.at(1)?.raw ?? '')).toBe(`${'='.repeat(19_999 % 60)}> 19999`);
    expect(store.widest).toBeLessThan(100);
  }, 60_000);

  it('of a line without end is capped, and the next line comes all the same', () => {
    const log = new FakeLog();
    const { store, tail } = opened(log);
    for (let turn = 0; turn < 80; turn++) tail.append(log.write('stdout', 'x'.repeat(65_536)));
    tail.append(log.write('stdout', '\nnext\n'));
    expect(store.characters).toBeLessThanOrEqual(mostOfLiveLine + 4);
    expect(store.at(1)).toMatchObject({ cut: true, columns: 80 * 65_536 });
    expect(renderLine(store.at(2)?.raw ?? '').spans[0]?.text).toBe('next');
  });
});
