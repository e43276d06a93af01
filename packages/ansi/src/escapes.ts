import { applySgr, type Style } from './style.ts';

/**
 * Everything in a line that is not printable text: C0 (but tab), DEL, C1, bidirectional controls, and the line and
 * paragraph separators, which a browser would take for line breaks.
 */
const special = /[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/;
/** The same but for the line feed: asked of whole chunks, before they are cut into lines. */
const specialInChunk = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/;

/** Whether the line needs more than being shown as it is. */
export function isSpecial(text: string): boolean {
  return special.test(text);
}

export function chunkIsSpecial(chunk: string): boolean {
  return specialInChunk.test(chunk);
}

/**
 * One thing that is not printable text. A control string (OSC, DCS, APC, PM, SOS) counts only when it is closed in
 * its own line: an open one must not swallow the rest of a log, so its introducer is marked and its content shown.
 *
 * Groups: 1 parameters and 2 final byte of a CSI sequence, 3 introducer and 4 content of a control string.
 */
const token =
  /\x1b\[([0-?]*)[ -/]*([@-~])|\x1b([\]PX^_])([^\x07\x1b\x9c]*)(?:\x07|\x1b\\|\x9c)|\x1b\[[0-?]*[ -/]*|\x1b[\]PX^_]|\x1b[ -/]*[0-~]|[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** A sequence at the end that the next chunk may complete. */
const unfinished = /\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b\x9c]*\x1b?|[ -/]*)?$/;

export interface Tokens {
  /** Printable text from `from` up to `to` (offsets in the raw line). */
  text(from: number, to: number): void;
  /** `ESC [ params final`. */
  csi(params: string, final: string): void;
  /** A closed control string: `]` OSC, `P` DCS, `X` SOS, `^` PM, `_` APC. */
  string(introducer: string, content: string): void;
  /** A control character, or an escape sequence that is cut off or of no meaning here. */
  control(sequence: string): void;
}

/** Walks a raw line in order; ends early when `stop` says so after a token. */
export function tokenize(raw: string, tokens: Tokens, stop: () => boolean = () => false): void {
  let at = 0;
  token.lastIndex = 0;
  for (let match = token.exec(raw); match !== null; match = token.exec(raw)) {
    // Handlers may tokenize other lines: the shared expression's position is kept here.
    const next = token.lastIndex;
    if (match.index > at) tokens.text(at, match.index);
    at = next;
    const [sequence, params, final, introducer, content] = match;
    if (final !== undefined) tokens.csi(params ?? '', final);
    else if (introducer !== undefined) tokens.string(introducer, content ?? '');
    else tokens.control(sequence);
    if (stop()) return;
    token.lastIndex = next;
  }
  if (at < raw.length) tokens.text(at, raw.length);
}

export interface Scan {
  /** Style after what was scanned. */
  style: Style;
  /** Where to go on when more text comes: before a sequence that is not complete yet. */
  next: number;
  /** Characters that are not shown. */
  hidden: number;
}

/** Follows the style through `raw` from `from`, without building anything. */
export function scanStyle(raw: string, from: number, style: Style): Scan {
  const text = from === 0 ? raw : raw.slice(from);
  const tail = unfinished.exec(text);
  const end = tail ? tail.index : text.length;
  let current = style;
  let hidden = 0;
  tokenize(end === text.length ? text : text.slice(0, end), {
    text: () => undefined,
    csi: (params, final) => {
      hidden += params.length + 3;
      if (final === 'm') current = applySgr(current, params);
    },
    string: (_introducer, content) => (hidden += content.length + 3),
    control: (sequence) => (hidden += sequence.length),
  });
  return { style: current, next: from + end, hidden };
}

const names: Readonly<Record<string, string>> = { ']': 'OSC', P: 'DCS', X: 'SOS', '^': 'PM', _: 'APC' };

// prettier-ignore
const c0 = [
  'NUL', 'SOH', 'STX', 'ETX', 'EOT', 'ENQ', 'ACK', 'BEL', 'BS', 'HT', 'LF', 'VT', 'FF', 'CR', 'SO', 'SI',
  'DLE', 'DC1', 'DC2', 'DC3', 'DC4', 'NAK', 'SYN', 'ETB', 'CAN', 'EM', 'SUB', 'ESC', 'FS', 'GS', 'RS', 'US',
] as const;

export interface Mark {
  /** What stands in the line. */
  text: string;
  /** What it stands for. */
  title: string;
}

const code = (character: string): string =>
  `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`;

/** The visible mark of a control; null for those that are dropped without one, being harmless and common. */
export function markOfControl(sequence: string): Mark | null {
  const first = sequence.charCodeAt(0);
  if (first === 0x1b) {
    if (sequence.length === 1) return { text: 'ESC', title: 'Escape character' };
    const name = names[sequence.charAt(1)];
    if (name !== undefined && sequence.length === 2)
      return { text: name, title: `${name} string without an end` };
    if (sequence.startsWith('\x1b[')) return { text: 'ESC [', title: 'Escape sequence without an end' };
    return null;
  }
  // Shift in and out: part of every `tput sgr0`.
  if (first === 0x0e || first === 0x0f) return null;
  if (first < 0x20) return { text: c0[first] ?? '', title: `Control character ${code(sequence)}` };
  if (first === 0x7f) return { text: 'DEL', title: 'Control character U+007F' };
  if (first < 0xa0) return { text: code(sequence), title: `Control character ${code(sequence)}` };
  return {
    text: code(sequence),
    title: `Invisible character ${code(sequence)}, which changes the order of text`,
  };
}

/** The visible mark of a control string; null for hyperlinks (OSC 8), whose text stands in the line anyway. */
export function markOfString(introducer: string, content: string): Mark | null {
  const name = names[introducer] ?? 'string';
  if (introducer === ']' && content.startsWith('8;')) return null;
  const number = introducer === ']' ? /^\d{1,5}/.exec(content)?.[0] : undefined;
  const shown = content.length > 200 ? `${content.slice(0, 200)}…` : content;
  return {
    text: `${name}${number === undefined ? '' : ` ${number}`}`,
    title: `${name} sequence, which does nothing here: ${shown}`,
  };
}
