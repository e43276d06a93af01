import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compact } from './cells.ts';
import { lineText, renderLine } from './render-line.ts';
import { bold, inverse, italic, plainStyle, strike, underline } from './style.ts';

/** Processor time since `start` in milliseconds: unlike the clock's, it is the same on a busy machine. */
function cpuMs(start: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1000;
}

const shown = (raw: string): string =>
  renderLine(raw)
    .spans.map(({ text, mark }) => (mark === undefined ? text : `<${text}>`))
    .join('');
const styles = (raw: string) => renderLine(raw).spans.map(({ text, style }) => [text, style]);

describe('styles', () => {
  it('shows plain text as one span', () => {
    expect(styles('hello')).toEqual([['hello', plainStyle]]);
    expect(renderLine('').spans).toEqual([]);
  });

  it('reads the 16 colours, 256 colours and true colour in both notations', () => {
    expect(styles('\x1b[31ma\x1b[92mb\x1b[44mc\x1b[0md')).toEqual([
      ['a', { fg: 1, bg: -1, flags: 0 }],
      ['b', { fg: 10, bg: -1, flags: 0 }],
      ['c', { fg: 10, bg: 4, flags: 0 }],
      ['d', plainStyle],
    ]);
    expect(styles('\x1b[38;5;208ma')).toEqual([['a', { fg: 208, bg: -1, flags: 0 }]]);
    const orange = 0x1000000 | 0xff8000;
    expect(styles('\x1b[38;2;255;128;0ma')).toEqual([['a', { fg: orange, bg: -1, flags: 0 }]]);
    expect(styles('\x1b[48:2::255:128:0ma')).toEqual([['a', { fg: -1, bg: orange, flags: 0 }]]);
    expect(styles('\x1b[48:2:255:128:0ma')).toEqual([['a', { fg: -1, bg: orange, flags: 0 }]]);
    expect(styles('\x1b[58;5;9;1ma')).toEqual([['a', { fg: -1, bg: -1, flags: bold }]]);
  });

  it('sets and resets each attribute', () => {
    expect(styles('\x1b[1;3;4;7;9ma\x1b[22;23;24;27;29mb')).toEqual([
      ['a', { fg: -1, bg: -1, flags: bold | italic | underline | inverse | strike }],
      ['b', plainStyle],
    ]);
    expect(styles('\x1b[4:3ma\x1b[4:0mb')[1]).toEqual(['b', plainStyle]);
    expect(styles('\x1b[31;41ma\x1b[39;49mb')[1]).toEqual(['b', plainStyle]);
  });

  it('never hides text by conceal', () => {
    expect(styles('\x1b[8msecret')).toEqual([['secret', plainStyle]]);
  });
});

describe('what is not text', () => {
  it.each([
    ['window title', '\x1b]0;evil\x07ok', '<OSC 0>ok'],
    ['clipboard', '\x1b]52;c;ZXZpbA==\x1b\\ok', '<OSC 52>ok'],
    ['hyperlink', '\x1b]8;;javascript:alert(1)\x1b\\text\x1b]8;;\x1b\\', 'text'],
    ['device control', '\x1bPq#0;2;0;0;0\x1b\\ok', '<DCS>ok'],
    ['an OSC that is never closed', '\x1b]0;the rest stays readable', '<OSC>0;the rest stays readable'],
    ['cursor report', 'a\x1b[6nb', 'ab'],
    ['clear screen', 'a\x1b[2J\x1b[Hb', 'ab'],
    ['cursor up', 'a\x1b[3Ab', 'ab'],
    ['alternate screen', '\x1b[?1049hx\x1b[?25l', 'x'],
    ['reset and charset', '\x1bc\x1b(Bx\x0f', 'x'],
    ['a cut-off sequence', 'x\x1b[38;5', 'x<ESC [>'],
    ['a lone escape', 'x\x1b', 'x<ESC>'],
    ['C1 controls', '\x9b31mx\x9d', '<U+009B>31mx<U+009D>'],
    ['bidi override', 'a\u202eb\u2066c', 'a<U+202E>b<U+2066>c'],
    ['separators that break lines', 'a\u2028b\u2029c\x0bd\x85e', 'a<U+2028>b<U+2029>c<VT>d<U+0085>e'],
    ['NUL, bell and delete', 'a\0b\x07c\x7f', 'a<NUL>b<BEL>c<DEL>'],
    ['markup', '<script>alert(1)</script>&amp;', '<script>alert(1)</script>&amp;'],
  ])('makes %s inert', (_name, raw, expected) => {
    expect(shown(raw)).toBe(expected);
  });

  it('leaves nothing that a terminal or browser acts on, whatever is written', () => {
    const piece = fc.oneof(
      fc.string(),
      fc.constantFrom(
        '\x1b',
        '[',
        ']',
        'P',
        ';',
        '8',
        '\x07',
        '\\',
        '\x9b',
        '\x9c',
        '\r',
        '\b',
        'm',
        'K',
        '\u202e',
        '\0',
        '\t',
        '日',
      ),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
        const raw = pieces.join('').replaceAll('\n', '');
        for (const { text } of renderLine(raw).spans)
          expect(text).not.toMatch(/[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/);
        const length = renderLine(raw, plainStyle, 7).spans.reduce(
          (sum, { text, mark }) => sum + (mark ? 0 : text.length),
          0,
        );
        expect(length).toBeLessThanOrEqual(7);
      }),
    );
  });

  it('gives text without sequences and marks for finding and copying', () => {
    expect(lineText('\x1b[31mred\x1b[0m\0 \x1b]0;t\x07end')).toBe('red end');
  });
});

describe('redrawing in a line', () => {
  it.each([
    ['return', ' 10%\r 20%\r100%', '100%'],
    ['return before the line feed', 'done\r', 'done'],
    ['a shorter redraw leaves the rest', 'abcdef\rxy', 'xycdef'],
    ['erase to the end', 'abcdef\rxy\x1b[K', 'xy'],
    ['erase the whole line', 'abcdef\x1b[2K\rxy', 'xy'],
    ['erase to the cursor', 'abcdef\x1b[3D\x1b[1K', '    ef'],
    ['erase below', 'Building [=> ]\r\x1b[JDone', 'Done'],
    ['backspace', 'abc\b\bX', 'aXc'],
    ['spinner', '|\b/\b-\bok', 'ok'],
    ['column', 'abcdef\x1b[3GX', 'abXdef'],
    ['forward', 'abcdef\r\x1b[2CX', 'abXdef'],
    ['tab', 'abcdefghij\r\tX', 'abcdefghXj'],
    ['wide characters', '日本\rab', 'ab本'],
    ['half of a wide character', '日本\rxy\x1b[3Gz', 'xyz '],
    ['combining marks', 'e\u0301x\rab', 'ab'],
    ['delete characters', 'abcdef\r\x1b[2P', 'cdef'],
  ])('plays %s', (_name, raw, expected) => {
    expect(shown(raw)).toBe(expected);
  });

  it('keeps the colours of what is overwritten apart', () => {
    expect(styles('\x1b[31mred\x1b[0m\rX')).toEqual([
      ['X', plainStyle],
      ['ed', { fg: 1, bg: -1, flags: 0 }],
    ]);
  });

  it('is not led into endless space by a cursor that jumps far', () => {
    expect(lineText('\x1b[999999999Cx').length).toBeLessThan(5000);
  });

  it('is the same after compaction, and stays so whatever comes next', () => {
    const piece = fc.constantFrom(
      'abc',
      'x',
      '\r',
      '\b',
      '\x1b[K',
      '\x1b[31m',
      '\x1b[0m',
      '\x1b[1K',
      '\x1b[3C',
      '\x1b[2D',
      '日',
      '\t',
      '\0',
      '\x1b]0;t\x07',
      'e\u0301',
    );
    const text = fc.array(piece, { maxLength: 30 }).map((pieces) => pieces.join(''));
    fc.assert(
      fc.property(text, text, (before, after) => {
        expect(renderLine(`${compact(before, plainStyle)}\r${after}`).spans).toEqual(
          renderLine(`${before}\b\r${after}`).spans,
        );
      }),
    );
  });
});

describe('long lines', () => {
  it('shows the beginning and says that there is more', () => {
    expect(renderLine('x'.repeat(5_000_000), plainStyle, 4000)).toEqual({
      spans: [{ text: 'x'.repeat(4000), style: plainStyle }],
      cut: true,
    });
  });

  it('cuts coloured and redrawn ones as well', () => {
    const coloured = renderLine('\x1b[31mab\x1b[0mcd', plainStyle, 3);
    expect(coloured.cut).toBe(true);
    expect(coloured.spans.map(({ text }) => text)).toEqual(['ab', 'c']);
    expect(renderLine('zzzzz\rabcde', plainStyle, 3)).toMatchObject({ spans: [{ text: 'abc' }], cut: true });
    expect(renderLine('\0'.repeat(100_000), plainStyle, 50).spans.length).toBe(50);
  });

  it('does not play five million characters of cursor movements', () => {
    const start = process.cpuUsage();
    expect(renderLine('ab\b'.repeat(1_700_000), plainStyle, 4000).cut).toBe(true);
    expect(cpuMs(start)).toBeLessThan(200);
  });

  it('takes no time that grows with the square of a hostile line', () => {
    const start = process.cpuUsage();
    for (const hostile of ['\x1b]', '\x1b[', '\x1b[1;', '\x1bP', '\x1b('])
      renderLine(hostile.repeat(200_000));
    renderLine(`\x1b[${'1;'.repeat(500_000)}`);
    expect(cpuMs(start)).toBeLessThan(3000);
  });
});
