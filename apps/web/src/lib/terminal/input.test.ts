import fc from 'fast-check';
import { expect, it } from 'vitest';
import { cleanPaste, inputPieces } from './input.ts';

it('cuts input into pieces that fit, loses nothing and splits no character', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary', maxLength: 100 }),
      fc.integer({ min: 2, max: 20 }),
      (data, longest) => {
        const pieces = inputPieces(data, longest);
        expect(pieces.join('')).toBe(data);
        for (const piece of pieces) {
          expect(piece.length).toBeGreaterThan(0);
          expect(piece.length).toBeLessThanOrEqual(longest);
          expect(piece.isWellFormed()).toBe(true);
        }
      },
    ),
  );
});

it('sends short input as it is', () => {
  expect(inputPieces('ls\r', 16)).toEqual(['ls\r']);
  expect(inputPieces('', 16)).toEqual([]);
});

it('lets nothing that was pasted end the bracket around it', () => {
  expect(cleanPaste('echo a\x1b[201~\nrm -rf x\x9b201~\0')).toBe('echo a[201~\nrm -rf x201~');
  expect(cleanPaste('plain\ttext\nümlaut')).toBe('plain\ttext\nümlaut');
});
