/** What a line of a terminal's output looks like and reads as: the same in the page and in the server's search. */
export { carryStyle, wholeStyle } from './carry-style.ts';
export { compact, needsCells, type Span } from './cells.ts';
export { chunkIsSpecial, isSpecial, scanStyle } from './escapes.ts';
export { compileQuery, findInText, type TextQuery } from './query.ts';
export { lineText, maxPlayed, renderLine } from './render-line.ts';
export * from './style.ts';
