import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { carryStyle, wholeStyle } from './carry-style.ts';
import { scanStyle } from './escapes.ts';
import { longestSgr, plainStyle, sgrOf, type Style } from './style.ts';

const styleOf = (carried: string): Style => scanStyle(carried, 0, plainStyle).style;
const carryAll = (pieces: readonly string[]): string => pieces.reduce(carryStyle, '');

const parameter = fc.oneof(
  fc.constantFrom(
    '',
    '0',
    '00',
    '1',
    '4:0',
    '4:3',
    '22',
    '39',
    '38;5;208',
    '48;2;1;2;3',
    '38:2::9:8:7',
    '38;5',
    '>4',
  ),
  fc.nat(110).map(String),
);
const piece = fc.oneof(
  fc.array(parameter, { maxLength: 4 }).map((all) => `\x1b[${all.join(';')}m`),
  fc.constantFrom(
    '\x1b',
    '[',
    '\x1b[',
    '3',
    ';',
    'm',
    ' ',
    'text',
    '\x1b[2K',
    '\x1b(B',
    '日',
    '\x9b31m',
    '\r',
  ),
  fc.constantFrom('\x1b]0;title', '\x07', '\x1b\\', '\x1bP1', '\x1b\x1b[31m'),
  fc.constant('\n'),
);

describe('a style that is carried on', () => {
  it('is the one that its lines leave when they are played, wherever the output is cut', () => {
    fc.assert(
      fc.property(
        fc.array(piece, { maxLength: 30 }),
        fc.array(fc.nat(200), { maxLength: 6 }),
        (pieces, places) => {
          const output = pieces.join('');
          const cuts = [
            0,
            ...places.map((place) => place % (output.length + 1)).sort((a, b) => a - b),
            output.length,
          ];
          const carried = carryAll(cuts.slice(1).map((to, index) => output.slice(cuts[index], to)));
          const played = output
            .split('\n')
            .reduce((style, line) => scanStyle(line, 0, style).style, plainStyle);
          expect(styleOf(carried)).toEqual(played);
          expect(wholeStyle(carried)).toBe(sgrOf(played) === sgrOf(plainStyle) ? '' : sgrOf(played));
        },
      ),
      { numRuns: 500 },
    );
  });

  it('is the same text for the same style, and none for none', () => {
    expect(carryStyle('', '\x1b[1;38;5;208mtext')).toBe('\x1b[0;1;38;5;208m');
    expect(carryStyle('', '\x1b[38;5;208m\x1b[1m')).toBe('\x1b[0;1;38;5;208m');
    expect(carryStyle('\x1b[0;1;38;5;208m', 'text\n'.repeat(1000))).toBe('\x1b[0;1;38;5;208m');
    expect(carryStyle('\x1b[0;1;38;5;208m', 'text\x1b[0m')).toBe('');
  });

  it('keeps what is cut off, until it is known what it was', () => {
    expect(carryStyle('', 'text\x1b[38;5')).toBe('\x1b[38;5');
    expect(carryStyle('\x1b[38;5', ';2')).toBe('\x1b[38;5;2');
    expect(carryStyle('\x1b[38;5;2', '08mtext')).toBe('\x1b[0;38;5;208m');
    expect(carryStyle('\x1b[0;1m\x1b[38;5', '\n208m')).toBe('\x1b[0;1m');
    expect(wholeStyle('\x1b[0;1m\x1b[38;5')).toBe('\x1b[0;1m');
  });

  it('stays small, whatever is written', () => {
    const hostile = [
      '\x1b[' + '1;'.repeat(40_000),
      '\x1b[1' + ' '.repeat(80_000),
      '\x1b]0;' + 'x'.repeat(80_000),
      '\x1b'.repeat(80_000),
    ];
    for (const output of hostile) {
      for (const carried of ['', '\x1b[0;1m', '\x1b[1;2', '\x1b[' + '1;'.repeat(longestSgr / 2)])
        expect(carryStyle(carried, output).length).toBeLessThan(longestSgr + 60);
    }
    // Longer than is kept is longer than is obeyed, in one piece or in many.
    const long = `\x1b[${'1;'.repeat(longestSgr)}31m`;
    expect(carryStyle('', long)).toBe('');
    expect(carryAll(long.split(''))).toBe('');
    expect(scanStyle(long, 0, plainStyle).style).toEqual(plainStyle);
  });

  it('costs little: nothing to speak of without an escape character, and little with many of them', () => {
    const chunk = 'a line of a log with some text in it\n'.repeat(1_800);
    const costOf = (output: string): number => {
      const start = process.cpuUsage();
      for (let turn = 0; turn < 10; turn++) carryStyle('\x1b[0;1m', output);
      const { user, system } = process.cpuUsage(start);
      return (user + system) / 1000;
    };
    expect(costOf(chunk)).toBeLessThan(20);
    // Each of these is a chunk of 64 KiB, of which 320 come with 20 MB.
    for (const sequence of ['\x1b[1m', '\x1b', '\x1b[0;', '\x1b[38;2;12;34;56mx'])
      expect(costOf(sequence.repeat(65_536 / sequence.length))).toBeLessThan(200);
  });
});
