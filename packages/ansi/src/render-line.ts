import { needsCells, play, spansOf, type Span } from './cells.ts';
import { isSpecial, markOfControl, markOfString, tokenize } from './escapes.ts';
import { applySgr, plainStyle, sameStyle, type Style } from './style.ts';

/** Longest raw line whose cursor movements are played; in longer ones they become marks. */
export const maxPlayed = 256 * 1024;

export interface RenderedLine {
  spans: Span[];
  /** Not everything is shown. */
  cut: boolean;
}

function cutSpans(spans: Span[], limit: number): RenderedLine {
  let length = 0;
  for (const [index, span] of spans.entries()) {
    if (length + span.text.length > limit) {
      const rest = limit - length;
      return { spans: [...spans.slice(0, index), { ...span, text: span.text.slice(0, rest) }], cut: true };
    }
    length += span.text.length;
  }
  return { spans, cut: false };
}

/**
 * What a raw line looks like. Every escape sequence is gone: it has become a style, a mark or nothing.
 *
 * @param start Style at the line's beginning.
 * @param limit Characters to show at most; a longer line comes back as `cut`.
 */
export function renderLine(raw: string, start: Style = plainStyle, limit = Infinity): RenderedLine {
  if (raw.length <= maxPlayed && needsCells(raw)) return cutSpans(spansOf(play(raw, start).cells), limit);
  const beginning = raw.length > limit ? raw.slice(0, limit) : raw;
  if (!isSpecial(beginning)) {
    return { spans: raw === '' ? [] : [{ text: beginning, style: start }], cut: raw.length > limit };
  }

  const spans: Span[] = [];
  let style = start;
  let length = 0;
  let marks = 0;
  let cut = false;
  const mark = (text: string, title: string): void => {
    marks++;
    spans.push({ text, style, mark: title });
  };
  const end = raw.endsWith('\r') ? raw.replace(/\r+$/, '') : raw;
  tokenize(
    end,
    {
      text: (from, to) => {
        const room = limit - length;
        const text = end.slice(from, Math.min(to, from + room));
        cut = to - from > room;
        length += text.length;
        const last = spans.at(-1);
        if (last && last.mark === undefined && sameStyle(last.style, style)) last.text += text;
        else if (text !== '') spans.push({ text, style });
      },
      csi: (params, final) => {
        if (final === 'm') style = applySgr(style, params);
      },
      string: (introducer, content) => {
        const made = markOfString(introducer, content);
        if (made) mark(made.text, made.title);
      },
      control: (sequence) => {
        const made = markOfControl(sequence);
        if (made) mark(made.text, made.title);
      },
    },
    () => {
      // Marks count as well: a line of nothing but controls must not fill the page.
      if (cut || length + marks >= limit) return (cut = true);
      return false;
    },
  );
  return { spans, cut };
}

/** The text of a raw line as people read and copy it: no escape sequences, no marks. */
export function lineText(raw: string): string {
  if (!isSpecial(raw)) return raw;
  let text = '';
  for (const span of renderLine(raw).spans) if (span.mark === undefined) text += span.text;
  return text;
}
