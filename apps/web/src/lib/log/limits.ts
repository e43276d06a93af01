/** Characters of a line that are shown before somebody asks for more. */
export const firstLimit = 4000;
/** A browser lays out a line in one go: steps beyond this would each take a noticeable time. */
const largestStep = 500_000;

/** The next limit of a line that was cut at this one. */
export function moreOf(limit: number): number {
  return Math.min(limit * 5, limit + largestStep);
}

/** The limit at which a character (from 0) of a line is shown. */
export function limitFor(character: number): number {
  let limit = firstLimit;
  while (limit <= character) limit = moreOf(limit);
  return limit;
}
