import { scanStyle } from './escapes.ts';
import { applySgr, longestSgr, plainStyle, sameStyle, sgrOf } from './style.ts';

const bracket = 0x5b;
const letterM = 0x6d;
const isParameter = (code: number): boolean => code >= 0x30 && code <= 0x3f;
const isIntermediate = (code: number): boolean => code >= 0x20 && code <= 0x2f;
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
    const from = at + 2;
    if (from <= text.length && text.charCodeAt(at + 1) !== bracket) continue;
    // Twice as fast as a regular expression, in output that has thousands of them in a chunk.
    let to = from;
    while (isParameter(text.charCodeAt(to))) to++;
    if (to - from > longestSgr) continue;
    let final = to;
    while (isIntermediate(text.charCodeAt(final))) final++;
    if (text.charCodeAt(final) === letterM) {
      const params = text.slice(from, to);
      last.add(params);
      if (reset.test(params)) break;
    } else if (final >= text.length) rest = text.slice(at, to + 1);
  }
  for (const params of [...last].reverse()) style = applySgr(style, params);
  return (sameStyle(style, plainStyle) ? '' : sgrOf(style)) + rest;
}
