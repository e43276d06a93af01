/**
 * Counts the bytes at the end of `bytes` (0 to 3) that begin a character whose rest has not come yet. Text cut before
 * them decodes, piece by piece, to the same as the whole. Bytes that can no longer become a character are not
 * counted: waiting would not help them (Unicode 16, table 3-7, well-formed byte sequences).
 */
export function incompleteTail(bytes: Uint8Array): number {
  const end = bytes.length;
  for (let back = 1; back <= Math.min(3, end); back++) {
    const lead = bytes[end - back] ?? 0;
    if ((lead & 0xc0) === 0x80) continue; // a continuation byte: its lead stands further front
    const length = sequenceLength(lead);
    if (length <= back) return 0;
    return back === 1 || isSecond(lead, bytes[end - back + 1] ?? 0) ? back : 0;
  }
  return 0;
}

function sequenceLength(lead: number): number {
  if (lead >= 0xc2 && lead <= 0xdf) return 2;
  if (lead >= 0xe0 && lead <= 0xef) return 3;
  if (lead >= 0xf0 && lead <= 0xf4) return 4;
  return 1;
}

/** Whether `second` may follow `lead`: some leads forbid overlong forms, surrogates and what is above U+10FFFF. */
function isSecond(lead: number, second: number): boolean {
  switch (lead) {
    case 0xe0:
      return second >= 0xa0;
    case 0xed:
      return second <= 0x9f;
    case 0xf0:
      return second >= 0x90;
    case 0xf4:
      return second <= 0x8f;
    default:
      return true;
  }
}
