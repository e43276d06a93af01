/**
 * Cuts what was typed or pasted into pieces that one message may carry; never inside a character.
 *
 * @param longest Characters (UTF-16 units) per piece, at least 2.
 */
export function inputPieces(data: string, longest: number): string[] {
  const pieces: string[] = [];
  for (let at = 0; at < data.length;) {
    let end = Math.min(at + longest, data.length);
    const last = data.charCodeAt(end - 1);
    if (end < data.length && last >= 0xd800 && last <= 0xdbff) end--;
    pieces.push(data.slice(at, end));
    at = end;
  }
  return pieces;
}

/**
 * Pasted text without escape characters: with them, it could close the bracket that tells the program "this was
 * pasted", and run what follows.
 */
export function cleanPaste(text: string): string {
  return text.replace(/[\x1b\x9b\0]/g, '');
}
