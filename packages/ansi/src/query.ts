/** What is looked for in a log. */
export interface TextQuery {
  text: string;
  regex: boolean;
  caseSensitive: boolean;
}

/** A query as an expression; words for the person when the pattern is wrong. */
export function compileQuery(query: TextQuery): RegExp | { error: string } {
  const flags = query.caseSensitive ? 'g' : 'gi';
  const source = query.regex ? query.text : query.text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
  try {
    return new RegExp(source, flags);
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    return { error: words.replace(/^Invalid regular expression: /, '').replace(/^\/[\s\S]*\/\w*: /, '') };
  }
}

/** More matches than this in one line are not counted. */
export const maxMatchesPerLine = 1000;

/** Start and end of each match in a text, flat. Empty matches are none. */
export function findInText(expression: RegExp, text: string): number[] {
  const found: number[] = [];
  expression.lastIndex = 0;
  for (
    let match = expression.exec(text);
    match !== null && found.length < maxMatchesPerLine * 2;
    match = expression.exec(text)
  ) {
    if (match[0] === '') expression.lastIndex++;
    else found.push(match.index, match.index + match[0].length);
  }
  return found;
}
