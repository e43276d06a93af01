import { describe, expect, it } from 'vitest';
import { csvLines, cut, oneLine, tableLines, type Column } from './table.ts';

interface Row {
  id: string;
  words: string;
}

const columns: Column<Row>[] = [
  { title: 'ID', value: ({ id }) => id },
  { title: 'WORDS', value: ({ words }) => words, isFlexible: true },
];
const plain = (text: string) => text;

describe('a table', () => {
  it('has columns as wide as they need, and no blanks at the end of a line', () => {
    expect(
      tableLines(
        columns,
        [
          { id: '1', words: 'a' },
          { id: '234', words: 'bc' },
        ],
        null,
        plain,
      ),
    ).toEqual(['ID   WORDS', '1    a', '234  bc']);
  });

  it('fits the terminal: what may give way is cut, the rest stays', () => {
    const lines = tableLines(columns, [{ id: '0123456789', words: 'x'.repeat(100) }], 30, plain);
    expect(lines[1]).toBe(`0123456789  ${'x'.repeat(17)}…`);
  });

  it('counts columns as a terminal does, for wide characters and for emoji', () => {
    expect(cut('日本語', 4)).toBe('日…');
    expect(cut('👨‍👩‍👧 family', 4)).toBe('👨‍👩‍👧 …');
    const lines = tableLines(
      columns,
      [
        { id: '日本', words: 'a' },
        { id: 'abcd', words: 'b' },
      ],
      null,
      plain,
    );
    expect(lines.slice(1)).toEqual(['日本  a', 'abcd  b']);
  });

  it('shows what others wrote without obeying it', () => {
    expect(oneLine('\x1b[31mred\x1b[0m\x1b]0;title\x07 a\nb\tc \u202egnp.exe')).toBe('red a b c gnp.exe');
  });

  it('is painted inside of its columns', () => {
    const painted: Column<Row>[] = [
      { title: 'ID', value: ({ id }) => id, paint: (text) => `<${text}>` },
      ...columns,
    ];
    expect(tableLines(painted, [{ id: '$&', words: 'w' }], null, plain)[1]).toBe('<$&>  $&  w');
  });
});

describe('CSV', () => {
  it('quotes as RFC 4180 says', () => {
    expect(csvLines(columns, [{ id: 'a,b', words: 'say "hi"\nagain' }])).toEqual([
      'id,words',
      '"a,b","say ""hi""\nagain"',
    ]);
  });
});
