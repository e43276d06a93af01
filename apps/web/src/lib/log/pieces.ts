import type { Span } from '@vmo/ansi';

/** Where something was found in a line: offsets in its text. */
export interface FoundRange {
  start: number;
  end: number;
  current: boolean;
}

export interface SpanPiece extends Span {
  found?: 'found' | 'current';
}

/** Cuts spans at the borders of what was found. Ranges are in order and do not overlap; marks have no place in them. */
export function piecesOf(spans: readonly Span[], ranges: readonly FoundRange[]): SpanPiece[] {
  if (ranges.length === 0) return [...spans];
  const pieces: SpanPiece[] = [];
  let at = 0;
  let next = 0;
  for (const span of spans) {
    if (span.mark !== undefined) {
      pieces.push(span);
      continue;
    }
    const end = at + span.text.length;
    let from = at;
    for (let range = ranges[next]; range && range.start < end; range = ranges[next]) {
      const start = Math.max(range.start, from);
      const stop = Math.min(range.end, end);
      if (start > from) pieces.push({ text: span.text.slice(from - at, start - at), style: span.style });
      if (stop > start) {
        const found = range.current ? 'current' : 'found';
        pieces.push({ text: span.text.slice(start - at, stop - at), style: span.style, found });
      }
      from = Math.max(from, stop);
      if (range.end > end) break;
      next++;
    }
    if (from < end) pieces.push({ text: span.text.slice(from - at), style: span.style });
    at = end;
  }
  return pieces;
}
