import fc from 'fast-check';
import { expect, it } from 'vitest';
import { survey } from './survey.ts';

const byHand = (bytes: Buffer) => ({
  lineFeeds: bytes.filter((byte) => byte === 0x0a).length,
  isPlain: bytes.every((byte) => byte === 0x09 || byte === 0x0a || (byte >= 0x20 && byte <= 0x7e)),
});

it('tells of any bytes, wherever they begin in memory, what a look at each of them tells', () => {
  const plain = fc.constantFrom(0x09, 0x0a, 0x20, 0x41, 0x7e);
  const any = fc.oneof({ weight: 20, arbitrary: plain }, fc.constantFrom(0, 0x1f, 0x7f, 0x80, 0xa0, 0xff));
  fc.assert(
    fc.property(fc.array(any, { maxLength: 40 }), fc.nat(7), (bytes, skipped) => {
      const whole = Buffer.from([...Array<number>(skipped).fill(0x41), ...bytes]);
      expect(survey(whole.subarray(skipped))).toEqual(byHand(Buffer.from(bytes)));
    }),
  );
});

it.each([0x00, 0x0d, 0x1b, 0x1f, 0x7f, 0x80, 0xff])(
  'sees the byte %i among plain bytes at every place',
  (byte) => {
    for (let at = 0; at < 12; at++) {
      const bytes = Buffer.alloc(12, 0x41);
      expect(survey(bytes).isPlain).toBe(true);
      bytes[at] = byte;
      expect(survey(bytes).isPlain).toBe(false);
    }
  },
);
