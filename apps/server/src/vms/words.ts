/** How many letters must be put in, taken out or replaced (Levenshtein). */
function distance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (const [at, letter] of Array.from(one).entries()) {
    const next = [at + 1];
    for (const [index, second] of Array.from(other).entries()) {
      const replaced = (row[index] ?? 0) + (letter === second ? 0 : 1);
      next.push(Math.min(replaced, (row[index + 1] ?? 0) + 1, (next[index] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}

/** At most three names, the nearest first; those that have nothing in common with it come last. */
export function closestTo(name: string, names: readonly string[]): string[] {
  const wanted = name.toLowerCase().slice(0, 100);
  return names
    .map((known) => {
      const lower = known.toLowerCase().slice(0, 100);
      const contains = lower.includes(wanted) || wanted.includes(lower);
      return { known, far: contains ? 0 : distance(wanted, lower) };
    })
    .sort((a, b) => a.far - b.far)
    .slice(0, 3)
    .map(({ known }) => known);
}
