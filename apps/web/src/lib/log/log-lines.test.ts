import type { LogStream } from '@vmo/contract';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LogLines } from './log-lines.ts';
import { lineText, renderLine } from './render-line.ts';

/** Processor time since `start` in milliseconds: unlike the clock's, it is the same on a busy machine. */
function cpuMs(start: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1000;
}

function linesOf(pieces: readonly (readonly [LogStream, string])[]): LogLines {
  const lines = new LogLines();
  for (const [index, [stream, chunk]] of pieces.entries()) lines.append({ stream, chunk, ts: index });
  return lines;
}
const texts = (lines: LogLines): string[] =>
  Array.from({ length: lines.count }, (_, line) => `${lines.stream(line)}: ${lineText(lines.raw(line))}`);

describe('lines', () => {
  it('end at line feeds, and begin with their first byte', () => {
    expect(texts(linesOf([['stdout', 'a\nb\n\nc']]))).toEqual([
      'stdout: a',
      'stdout: b',
      'stdout: ',
      'stdout: c',
    ]);
    expect(linesOf([['stdout', 'a\n']]).count).toBe(1);
  });

  it('go on over chunks', () => {
    const lines = linesOf([
      ['stdout', 'ab'],
      ['stdout', 'cd\ne'],
      ['stdout', 'f\r'],
      ['stdout', '\ng'],
    ]);
    expect(texts(lines)).toEqual(['stdout: abcd', 'stdout: ef', 'stdout: g']);
  });

  it('are numbered by their first byte across streams; an open one stays open while others write', () => {
    const lines = linesOf([
      ['stdout', 'compiling… '],
      ['stderr', 'warning: x\n'],
      ['system', 'SIGTERM sent'],
      ['stderr', 'second'],
      ['stdout', 'ok\nnext\n'],
      ['stderr', ' half\n'],
    ]);
    expect(texts(lines)).toEqual([
      'stdout: compiling… ok',
      'stderr: warning: x',
      'system: SIGTERM sent',
      'stderr: second half',
      'stdout: next',
    ]);
    expect(lines.ts(0)).toBe(0);
    expect(lines.ts(3)).toBe(3);
  });

  it('says which older lines changed', () => {
    const lines = linesOf([['stdout', 'a']]);
    expect(lines.takeChanged()).toEqual([]);
    lines.append({ stream: 'stdout', chunk: 'b\nc', ts: 0 });
    expect(lines.takeChanged()).toEqual([0]);
    expect(lines.isOpen(0)).toBe(false);
    expect(lines.isOpen(1)).toBe(true);
  });

  it('are the same however the output is cut into chunks', () => {
    const piece = fc.constantFrom(
      'a',
      'bc',
      '\n',
      '\r',
      '\r\n',
      '\x1b[31m',
      '\x1b[0m',
      '\x1b]0;t\x07',
      '\x1b[1;4',
      'm',
      '\x1b',
      '[K',
      '日',
    );
    fc.assert(
      fc.property(
        fc.array(piece, { maxLength: 60 }),
        fc.array(fc.nat(5), { minLength: 1 }),
        (pieces, sizes) => {
          const all = pieces.join('');
          const cut: [LogStream, string][] = [];
          for (let at = 0, turn = 0; at < all.length; turn++) {
            const size = 1 + (sizes[turn % sizes.length] ?? 0);
            cut.push(['stdout', all.slice(at, at + size)]);
            at += size;
          }
          const whole = linesOf(all === '' ? [] : [['stdout', all]]);
          const cutUp = linesOf(cut);
          const look = (lines: LogLines) =>
            Array.from(
              { length: lines.count },
              (_, line) => renderLine(lines.raw(line), lines.startStyle(line)).spans,
            );
          expect(look(cutUp)).toEqual(look(whole));
        },
      ),
    );
  });
});

describe('styles', () => {
  it('carry over to the next lines of their own stream only', () => {
    const lines = linesOf([
      ['stdout', '\x1b[31mred\n'],
      ['stderr', 'plain\n'],
      ['stdout', 'still red\x1b[0m\nplain\n'],
    ]);
    expect([0, 1, 2, 3].map((line) => lines.startStyle(line).fg)).toEqual([-1, -1, 1, -1]);
  });

  it('are read when their sequence is split between chunks', () => {
    const lines = linesOf([
      ['stdout', 'a\x1b'],
      ['stdout', '[3'],
      ['stdout', '1mb\nc\n'],
    ]);
    expect(lines.startStyle(1).fg).toBe(1);
    expect(lines.columns(0)).toBe(2);
  });
});

describe('size', () => {
  it('of a progress bar is that of one drawing, however often it is redrawn', () => {
    const lines = new LogLines();
    for (let step = 0; step < 20_000; step++) {
      lines.append({
        stream: 'stderr',
        chunk: `\r\x1b[32m${'='.repeat(step % 60)}>\x1b[0m ${String(step)}\x1b[K`,
        ts: 0,
      });
    }
    expect(lines.count).toBe(1);
    expect(lines.characters).toBeLessThan(32 * 1024);
    expect(lineText(lines.raw(0))).toBe(`${'='.repeat(19_999 % 60)}> 19999`);
    expect(lines.widest).toBeLessThan(100);
  }, 60_000);

  it('takes a million lines in about a second', () => {
    const chunk = Array.from(
      { length: 1000 },
      (_, line) => `line ${String(line)} of a build that says a lot\n`,
    ).join('');
    const lines = new LogLines();
    const start = process.cpuUsage();
    for (let turn = 0; turn < 1000; turn++) lines.append({ stream: 'stdout', chunk, ts: 0 });
    expect(lines.count).toBe(1_000_000);
    expect(cpuMs(start)).toBeLessThan(5000);
  });

  it('takes a line of five million characters', () => {
    const lines = new LogLines();
    for (let turn = 0; turn < 80; turn++)
      lines.append({ stream: 'stdout', chunk: 'x'.repeat(65_536), ts: 0 });
    lines.append({ stream: 'stdout', chunk: '\nnext\n', ts: 0 });
    expect(lines.count).toBe(2);
    expect(lines.columns(0)).toBe(80 * 65_536);
  });
});
