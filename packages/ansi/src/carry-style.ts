import { scanStyle } from './escapes.ts';
import { applySgr, longestSgr, plainStyle, sameStyle, sgrOf } from './style.ts';

/** A sequence that is or may become a style: its parameters, and what ends it where it has come to its end. */
const sequence = /\x1b(?:\[([0-?]*)([ -/]?)[ -/]*([@-~])?)?/y;
const bracket = '['.charCodeAt(0);
/** Parameters that ask for nothing of what was before. */
const reset = /^0?(?:;[^<-?]*)?$/;

/** Behind the text that leads to it, a style may be followed by a sequence that is cut off, which does not end in `m`. */
const isWhole = (carried: string): boolean => carried === '' || carried.endsWith('m');

/** The same where nothing goes on with what is cut off. */
export function wholeStyle(carried: string): string {
  return isWhole(carried) ? carried : carried.slice(0, carried.lastIndexOf('\x1b'));
}

/**
 * What output leaves behind for what is written next: the escape sequence for its style (empty: none) and, where the
 * output ends within a sequence that may become one, what is there of it. A few hundred characters at most, whatever
 * is written; text without an escape character costs a look for one.
 *
 * @param carried What the output before left behind.
 */
export function carryStyle(carried: string, output: string): string {
  if (output === '' || (isWhole(carried) && !output.includes('\x1b'))) return carried;
  const before = scanStyle(carried, 0, plainStyle);
  const text = carried.slice(before.next) + output;
  let { style } = before;
  let rest = '';
  // From the end: each sets what it sets whatever was before, so of equal ones only the last counts.
  const last = new Set<string>();
  for (let at = text.lastIndexOf('\x1b'); at !== -1; at = at === 0 ? -1 : text.lastIndexOf('\x1b', at - 1)) {
    if (text.charCodeAt(at + 1) !== bracket && at + 1 < text.length) continue;
    sequence.lastIndex = at;
    const match = sequence.exec(text);
    if (!match) continue;
    const [whole, params = '', intermediate = '', final] = match;
    if (params.length > longestSgr) continue;
    if (final === 'm') {
      last.add(params);
      if (reset.test(params)) break;
    } else if (final === undefined && at + whole.length === text.length) {
      rest = whole.length === 1 ? whole : `\x1b[${params}${intermediate}`;
    }
  }
  for (const params of [...last].reverse()) style = applySgr(style, params);
  return (sameStyle(style, plainStyle) ? '' : sgrOf(style)) + rest;
}
