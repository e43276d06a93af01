import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { incompleteTail } from './utf8.ts';

const decode = (bytes: Uint8Array) => new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);

describe('incompleteTail', () => {
  it.each([
    ['nothing', [], 0],
    ['ASCII', [0x61, 0x62], 0],
    ['a whole character', [0xe2, 0x82, 0xac], 0],
    ['the first byte of two', [0x61, 0xc3], 1],
    ['the first of three', [0xe2], 1],
    ['two of three', [0x61, 0xe2, 0x82], 2],
    ['three of four', [0xf0, 0x9f, 0x98], 3],
    ['continuation bytes without a lead', [0x80, 0x80, 0x80, 0x80], 0],
    ['a lead that does not exist', [0xff], 0],
    ['overlong forms', [0xc0], 0],
    ['overlong forms of three', [0xe0, 0x80], 0],
    ['the beginning of three', [0xe0, 0xa0], 2],
    ['surrogates', [0xed, 0xa0], 0],
    ['what stands before the surrogates', [0xed, 0x9f], 2],
    ['overlong forms of four', [0xf0, 0x80], 0],
    ['the beginning of four', [0xf0, 0x90], 2],
    ['what is above U+10FFFF', [0xf4, 0x90], 0],
    ['the last plane', [0xf4, 0x8f], 2],
    ['the middle planes', [0xf1, 0x80, 0x80], 3],
  ])('counts what may still become a character: %s', (_, bytes, tail) => {
    expect(incompleteTail(Uint8Array.from(bytes))).toBe(tail);
  });

  /** Bytes that are hard on a decoder: leads, continuations, and text between. */
  const hardByte = fc.constantFrom(
    0x61,
    0x0a,
    0x00,
    0x80,
    0xbf,
    0xc2,
    0xe0,
    0xa0,
    0xed,
    0x9f,
    0xf0,
    0x90,
    0xf4,
    0x8f,
    0xff,
  );
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 60 }),
    fc.array(hardByte, { maxLength: 60 }).map((list) => Uint8Array.from(list)),
    fc.string({ unit: 'binary', maxLength: 30 }).map((text) => new TextEncoder().encode(text)),
  );

  it('lets pieces decode to the same as the whole, wherever they are cut', () => {
    fc.assert(
      fc.property(bytes, fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }), (whole, sizes) => {
        let text = '';
        let at = 0;
        for (let turn = 0; at < whole.length; turn++) {
          const end = Math.min(at + 3 + (sizes[turn % sizes.length] ?? 1), whole.length);
          const piece = whole.subarray(at, end);
          const rest = end === whole.length ? 0 : incompleteTail(piece);
          text += decode(piece.subarray(0, piece.length - rest));
          at = end - rest;
        }
        expect(text).toBe(decode(whole));
      }),
      { numRuns: 2_000 },
    );
  });
});
