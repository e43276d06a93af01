import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Mask } from './mask.ts';

const masked = (mask: Mask, text: string) => mask.text(text);

describe('a mask', () => {
  it('hides every secret, and nothing else, byte for byte', () => {
    const mask = new Mask(['hunter2', 'pässwörd']);
    expect(masked(mask, 'user hunter2 and hunter2, hunter3')).toBe('user ******* and *******, hunter3');
    expect(masked(mask, 'pässwörd')).toBe('*'.repeat(10));
  });

  it('hides secrets that overlap or contain each other', () => {
    expect(masked(new Mask(['token', 'token-long', 'long-tail']), 'token-long-tail')).toBe('*'.repeat(15));
    expect(masked(new Mask(['aaaa']), 'aaaaaa b')).toBe('****** b');
  });

  it('hides the lines of a secret of several lines, but not the short ones', () => {
    const mask = new Mask(['-----BEGIN-----\nabcdefghij\nxy\n']);
    expect(masked(mask, 'abcdefghij xy')).toBe('********** xy');
  });

  it('holds back what may become a secret', () => {
    const mask = new Mask(['hunter2']);
    expect(mask.heldBack(Buffer.from('it is hunt'))).toBe(4);
    expect(mask.heldBack(Buffer.from('it is hunter2'))).toBe(0);
    expect(mask.heldBack(Buffer.from('it is'))).toBe(0);
    expect(mask.heldBack(Buffer.alloc(0))).toBe(0);
  });

  it('lets no secret through, however the output is cut', () => {
    const part = fc.constantFrom('secret!', 'sec', 'ret!', 'secsecret!', 'x', 'ab', '\n');
    fc.assert(
      fc.property(fc.array(part), fc.array(fc.nat(20)), (parts, cuts) => {
        const mask = new Mask(['secret!', 'abab', 'retx']);
        const text = Buffer.from(parts.join(''));
        const whole = Buffer.from(text);
        mask.hide(whole);
        // As the reader does it: look back, see what may go on, hide, give the rest.
        let shown = '';
        let at = 0;
        for (let end = 0, turn = 0; at < text.length; turn++) {
          end = turn < cuts.length ? Math.min(end + (cuts[turn] ?? 0), text.length) : text.length;
          if (end <= at) continue;
          const before = Math.min(at, mask.context);
          const bytes = Buffer.from(text.subarray(at - before, end));
          const held = end === text.length ? 0 : Math.min(mask.heldBack(bytes), end - at);
          mask.hide(bytes);
          shown += bytes.toString('latin1', before, bytes.length - held);
          at = end - held;
        }
        expect(shown.includes('secret!')).toBe(false);
        expect(shown).toBe(whole.toString('latin1'));
      }),
      { numRuns: 2000, examples: [[['ab', 'ab', 'ab'], [4]]] },
    );
  });
});
