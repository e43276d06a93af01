const plainWord = /^[A-Za-z0-9_@%+=:,./-]+$/;

/** One word for `sh`, quoted only where it has to be. */
export function quote(word: string): string {
  return plainWord.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** The command that builds a target, with the variables that differ from what the Makefile says. */
export function makeCommand(
  target: string,
  options: { variables?: Readonly<Record<string, string>>; dryRun?: boolean } = {},
): string {
  const words = ['make'];
  if (options.dryRun) words.push('-n');
  if (target.startsWith('-')) words.push('--');
  words.push(quote(target));
  for (const [name, value] of Object.entries(options.variables ?? {})) words.push(`${name}=${quote(value)}`);
  return words.join(' ');
}

/**
 * Reads lines of `NAME=value`; empty lines and lines that start with # are left out.
 * @returns the variables, or the first line that is none.
 */
export function parseEnv(text: string): { env: Record<string, string> } | { wrong: string } {
  const env: Record<string, string> = {};
  for (const line of text.split('\n')) {
    if (line.trim() === '' || line.trimStart().startsWith('#')) continue;
    const match = /^\s*([A-Za-z_][A-Za-z0-9_]*)=(.*)$/.exec(line);
    if (!match?.[1]) return { wrong: line };
    env[match[1]] = match[2] ?? '';
  }
  return { env };
}

/** What is wrong with a secret variable; undefined: nothing. */
export function secretError({ name, value }: { name: string; value: string }): string | undefined {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name.trim())) return 'the name must be letters, digits and _';
  return value.length < 4 ? 'the value must have at least 4 characters' : undefined;
}
