import { chunkIsSpecial, findInText, isSpecial, lineText, type TextQuery } from '@vmo/ansi';
import type { Block } from './line-walker.ts';

/** By far the most common escape sequence: without it most coloured lines are plain text. */
const styles = /\x1b\[[0-9;:]*m/g;

/**
 * Matches in the lines of a block, as people read them: escape sequences are none of the text.
 * @param found is told the number of each line that has matches, and how many
 */
export function findInBlock(
  query: TextQuery,
  expression: RegExp,
  { text, number, isPlain }: Block,
  found: (line: number, count: number) => void,
): void {
  const isBare = isPlain || !chunkIsSpecial(text);
  const bare = isBare ? text : text.replace(styles, '');
  if (query.regex || (!isBare && chunkIsSpecial(bare)))
    findLineByLine(query, expression, { text: bare, number, isPlain }, found);
  else findInPlain(query, expression, bare, number, found);
}

const ascii = /^[\x20-\x7e]+$/;

/**
 * Where a plain query is found in a text, one match after another. Comparing strings takes a quarter of the time that a
 * regular expression takes which does not care for case; where a letter is not ASCII, only that knows its other cases.
 */
function* places(query: TextQuery, expression: RegExp, text: string): Generator<number> {
  const isAscii = ascii.test(query.text);
  // The other case of a few letters is longer than themselves: then places would not be those of the text.
  const folded = query.caseSensitive ? text : isAscii ? text.toLowerCase() : null;
  if (folded?.length === text.length) {
    const words = query.caseSensitive ? query.text : query.text.toLowerCase();
    for (let at = folded.indexOf(words); at !== -1; at = folded.indexOf(words, at + words.length)) yield at;
    return;
  }
  expression.lastIndex = 0;
  for (let match = expression.exec(text); match !== null; match = expression.exec(text)) yield match.index;
}

/** A query without line feeds finds the same in many lines at once as in each by itself. */
function findInPlain(
  query: TextQuery,
  expression: RegExp,
  text: string,
  first: number,
  found: (line: number, count: number) => void,
): void {
  let line = first;
  let end: number | null = null;
  let count = 0;
  for (const at of places(query, expression, text)) {
    end ??= text.indexOf('\n');
    while (end !== -1 && end < at) {
      if (count > 0) found(line, count);
      count = 0;
      line++;
      end = text.indexOf('\n', end + 1);
    }
    count++;
  }
  if (count > 0) found(line, count);
}

function findLineByLine(
  query: TextQuery,
  expression: RegExp,
  { text, number, isPlain }: Block,
  found: (line: number, count: number) => void,
): void {
  let line = number;
  for (let at = 0; at <= text.length; line++) {
    const end = text.indexOf('\n', at);
    const raw = text.slice(at, end === -1 ? text.length : end);
    const shown = isPlain || !isSpecial(raw) ? raw : lineText(raw);
    const matches =
      !query.regex && query.caseSensitive && !shown.includes(query.text)
        ? 0
        : findInText(expression, shown).length / 2;
    if (matches > 0) found(line, matches);
    if (end === -1) return;
    at = end + 1;
  }
}
