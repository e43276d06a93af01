import headless from '@xterm/headless';
import { expect, test } from 'vitest';
import { internalsOf } from './screen-internals.ts';
import { Screen } from './screen.ts';
import { stateOf, write } from './testing.ts';

async function screenAfter(cols: number, rows: number, bytes: Buffer): Promise<Screen> {
  const screen = new Screen(cols, rows, () => undefined);
  await screen.draw(bytes);
  return screen;
}

async function replayed(cols: number, rows: number, ...pieces: (string | Uint8Array)[]) {
  const terminal = new headless.Terminal({ cols, rows, scrollback: 1000, allowProposedApi: true });
  for (const piece of pieces)
    await write(terminal, typeof piece === 'string' ? piece : Buffer.from(piece).toString('utf8'));
  return terminal;
}

/** The snapshot after `cut` bytes and what follows show the same as the whole. */
async function expectSameAfter(cols: number, rows: number, bytes: Buffer, cut: number): Promise<void> {
  const screen = await screenAfter(cols, rows, bytes.subarray(0, cut));
  const { data, offset } = await screen.snapshot();
  expect(offset).toBeLessThanOrEqual(cut);
  const before = await replayed(cols, rows, bytes.subarray(0, offset));
  const drawn = await replayed(cols, rows, data);
  // A title is set with the first byte of its end, and again when it is repeated.
  expect({ ...stateOf(drawn), title: '' }).toEqual({ ...stateOf(before), title: '' });
  const whole = await replayed(cols, rows, bytes);
  await write(drawn, bytes.subarray(offset).toString('utf8'));
  expect(stateOf(drawn)).toEqual(stateOf(whole));
}

const examples: Record<string, string> = {
  'colours and styles':
    '\x1b[1;31mred\x1b[22;2mdim\x1b[22;1mbold\x1b[0;4:3;58:2::1:2:3mcurly\x1b[58:5:9mx\x1b[0;38;2;1;2;3;48;5;200mrgb\x1b[7;9;53;5;8;3mall',
  'a full row with the cursor on its last cell': 'abcdefghij\x1b[1;10H\x1b[1;31mX\x1b[1;10H',
  'a full row with the wrap pending': 'abcdefghij',
  'a full row of wide characters with the wrap pending': '一二三四五',
  'a wrap before a wide character': 'abcdefghi一二',
  'wrapped rows in the scrollback': 'abcdefghijklmnopqrstuvwxyz'.repeat(5),
  'coloured erased cells': 'ab\x1b[41m\x1b[K\r\n\x1b[44m\x1b[2Kx\x1b[42m\r\n\x1b[J\x1b[5X',
  'a wide character cut in half': '一二\x1b[1;2Hx\x1b[4m二\x1b[1;5H\x1b[1P',
  'margins, origin mode, saved cursor':
    '1\r\n2\r\n3\x1b[1;33m\x1b[2;3H\x1b7\x1b[0m\x1b[2;3r\x1b[?6h\x1b[2;4Hx',
  'the alternate screen': 'shell\x1b[31m\x1b[3;4H\x1b[?1049h\x1b[2J\x1b[H~vi\x1b[2;3r\x1b[?25l\x1b[?1h\x1b=',
  'the alternate screen without a saved cursor': 'shell\x1b[?47h\x1b[2;2Halt\x1b7',
  modes: '\x1b[?2004h\x1b[?1002h\x1b[?1006h\x1b[?1004h\x1b[?45h\x1b[4h\x1b[?7l\x1b[3 q\x1b]2;title\x07ab',
  'a steady block cursor and pixel mouse': '\x1b[2 q\x1b[?1003h\x1b[?1016h',
  'line drawing': '\x1b(0lqk\x1b7\x1b)0\x0e\x1b(Bx\x0fy\x0e',
  'tab stops': '\x1b[3g\x1b[1;4H\x1bH\x1b[1;1H\tx',
  'a link': 'a\x1b]8;id=1;http://example.org\x1b\\link\x1b]8;;http://b\x1b\\b\x1b]8;;\x1b\\c',
  'combining characters': 'e\u0301a\u0300 👩\u200d👧',
  'an empty screen': '',
};

test.each(Object.entries(examples))(
  'a snapshot of %s looks and goes on like the original',
  async (_, text) => {
    for (const rest of ['', 'Z', '\r\n\x1b[Knext\tone', '\x1b8Y\n\n\n', '\x1b[?1049lback', '\x1b[?1l\x1b[rq'])
      await expectSameAfter(10, 4, Buffer.from(text + rest), Buffer.byteLength(text));
  },
);

test('a snapshot inside an escape sequence or a character continues at its beginning', async () => {
  const bytes = Buffer.from(
    'ab\x1b[1;31mred 一 \x1b]2;a title\x1b\\ \u009b4mC1 👩 \x1bPq#0\x1b\\ end\x1b(0qq',
  );
  for (let cut = 0; cut <= bytes.length; cut++) await expectSameAfter(12, 3, bytes, cut);
});

test('a sequence that comes in many pieces is continued at its first byte', async () => {
  const screen = new Screen(10, 3, () => undefined);
  for (const piece of ['ab', '\x1b]2;', 'one', 'two']) await screen.draw(Buffer.from(piece));
  expect((await screen.snapshot()).offset).toBe(2);
  await screen.draw(Buffer.from('\x07c'));
  expect((await screen.snapshot()).offset).toBe(14);
});

test('bytes that are not UTF-8 are drawn as the log shows them', async () => {
  const screen = await screenAfter(10, 3, Buffer.from([0x61, 0xff, 0xc3, 0x28, 0xe4, 0xb8]));
  const { data, offset } = await screen.snapshot();
  expect(offset).toBe(4);
  expect(data).toContain('a\ufffd\ufffd(');
});

/** Random programs: small ones, so that a failure can be read. */
function randomOutput(random: () => number): string {
  const pick = <T>(choices: readonly T[]): T => choices[Math.floor(random() * choices.length)] as T;
  const number = () => String(Math.floor(random() * 12));
  const pieces: (() => string)[] = [
    () => 'abc'.repeat(Math.ceil(random() * 5)),
    () => pick(['一', '界二', 'e\u0301', ' ', '\t', '\r', '\n', '\r\n', '\b']),
    () => `\x1b[${pick(['0', '1', '2', '7', '31', '42', '38;5;99', '48;2;1;2;3', '4', '22', '4:3'])}m`,
    () => `\x1b[${number()};${number()}H`,
    () =>
      `\x1b[${number()}${pick(['A', 'B', 'C', 'D', 'G', 'J', 'K', 'L', 'M', 'P', 'X', '@', 'S', 'T', 'd'])}`,
    () => pick(['\x1b7', '\x1b8', '\x1bM', '\x1bD', '\x1bE', '\x1b(0', '\x1b(B']),
    () => `\x1b[?${pick(['1049', '47', '6', '25', '1', '2004', '1000', '1006'])}${pick(['h', 'l'])}`,
    () => `\x1b[${pick(['2;4', '1;3', ''])}r`,
  ];
  return Array.from({ length: 25 }, () => pick(pieces)()).join('');
}

function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

test('the snapshot of random output looks the same', async () => {
  for (let seed = 1; seed <= 200; seed++) {
    const text = randomOutput(createRandom(seed));
    const screen = await screenAfter(12, 5, Buffer.from(text));
    const { data } = await screen.snapshot();
    const again = await replayed(12, 5, data);
    const original = await replayed(12, 5, text);
    expect(stateOf(again, 'visible'), `seed ${String(seed)}: ${JSON.stringify(text)}`).toEqual(
      stateOf(original, 'visible'),
    );
  }
}, 90_000);

test('a resize takes effect after the bytes before it', async () => {
  const screen = new Screen(10, 3, () => undefined);
  const drawn = screen.draw(Buffer.from('0123456789ab'));
  await Promise.all([drawn, screen.resize(20, 4)]);
  expect(screen.size).toEqual({ cols: 20, rows: 4 });
  expect((await screen.snapshot()).data).toMatch(/^0123456789.*ab/s);
});

test('queries are answered to whoever asked for the answers', async () => {
  const replies: string[] = [];
  const screen = new Screen(10, 3, (reply) => replies.push(reply));
  await screen.draw(Buffer.from('ab\x1b[6n\x1b[c'));
  expect(replies).toEqual(['\x1b[1;3R', '\x1b[?1;2c']);
});

test('the internals of the terminal are where they were', () => {
  const terminal = new headless.Terminal({ cols: 10, rows: 3, allowProposedApi: true });
  const internals = internalsOf(terminal);
  expect(internals._inputHandler._parser.currentState).toBe(0);
  expect(internals.coreService.decPrivateModes.wraparound).toBe(true);
  expect(internals.buffers.normal.tabs).toEqual({ 0: true, 8: true });
});

test('a character that comes in pieces is drawn when it is whole', async () => {
  const screen = await screenAfter(10, 2, Buffer.from([0x61, 0xe4, 0xb8]));
  expect((await screen.snapshot()).offset).toBe(1);
  await screen.draw(Buffer.from([0x80, 0x62]));
  const { data, offset } = await screen.snapshot();
  expect(offset).toBe(5);
  expect(data).toContain('a一b');
});
