/**
 * Splits a command line into words in the manner of a shell, without one: quotes and backslashes group and escape,
 * nothing is expanded.
 * @throws Error when a quote is not closed
 */
export function splitShellWords(line: string): string[] {
  const words: string[] = [];
  let word = '';
  let inWord = false;
  let quote = '';
  for (let at = 0; at < line.length; at++) {
    const sign = line.charAt(at);
    const next = line.charAt(at + 1);
    const escapes = quote === '' || (quote === '"' && '"\\$`'.includes(next));
    if (sign === '\\' && next !== '' && escapes) {
      word += next;
      inWord = true;
      at += 1;
    } else if (quote !== '') {
      if (sign === quote) quote = '';
      else word += sign;
    } else if (sign === "'" || sign === '"') {
      quote = sign;
      inWord = true;
    } else if (!/\s/.test(sign)) {
      word += sign;
      inWord = true;
    } else if (inWord) {
      words.push(word);
      word = '';
      inWord = false;
    }
  }
  if (quote !== '') throw new Error(`a ${quote} is not closed`);
  return inWord ? [...words, word] : words;
}
