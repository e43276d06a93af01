import { describe, expect, it } from 'vitest';
import { explainFailure, failureOf, SshError } from './failure.ts';
import { ladderWords, parseProcess, parseReport } from './link.ts';
import { quote } from './remote-shell.ts';
import { markerOf, SegmentSplitter } from './segments.ts';

describe('the segments of a stream', () => {
  const nonce = 'a1b2';
  const bytes = Buffer.from(`noise${markerOf(nonce)}one\u001e${markerOf(nonce)}\u001ea1b\0\u001e`);

  /** All pieces, put together by segment. */
  function split(chunks: Buffer[]): string[] {
    const splitter = new SegmentSplitter(nonce);
    const segments: string[] = [];
    for (const chunk of chunks)
      for (const { segment, bytes: piece } of splitter.push(chunk))
        segments[segment] = (segments[segment] ?? '') + piece.toString('latin1');
    return segments;
  }

  it('are the same however the stream is cut', () => {
    for (let size = 1; size <= bytes.length; size++) {
      const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
        bytes.subarray(index * size, (index + 1) * size),
      );
      // The last byte may begin a marker, and waits for the next one.
      expect(split([...chunks, Buffer.from('x')])).toEqual(['noise', 'one\u001e', '\u001ea1b\0\u001ex']);
    }
  });

  it('pass at once what cannot begin a marker', () => {
    expect([...new SegmentSplitter(nonce).push(Buffer.from('hello'))]).toEqual([
      { segment: 0, bytes: Buffer.from('hello') },
    ]);
    expect([...new SegmentSplitter(nonce).push(Buffer.from('hello\u001ea'))]).toEqual([
      { segment: 0, bytes: Buffer.from('hello') },
    ]);
  });
});

describe('what ssh says', () => {
  it.each([
    [
      '@@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.',
      'changed-key',
    ],
    ['No ED25519 host key is known for x and you have requested strict checking.', 'unknown-key'],
    ['a@b: Permission denied (publickey).', 'refused'],
    ['ssh: connect to host b port 22: Connection refused', 'unreachable'],
    ['ssh: Could not resolve hostname b: Name or service not known', 'unreachable'],
    ['command-line: line 0: Bad configuration option: x', 'misconfigured'],
    ['Timeout, server b not responding.', 'lost'],
    ['', 'lost'],
  ])('%j means %s', (log, kind) => {
    const failure = explainFailure('build', log);
    expect(failure.kind).toBe(kind);
    expect(failure.message).toContain(kind === 'misconfigured' ? 'OpenSSH' : 'build');
  });

  it('is told without control characters, and a login without a shell by its own words', () => {
    expect(explainFailure('build', '', 'This account\u001b[31m is not available.\n')).toEqual({
      kind: 'no-shell',
      message:
        'build gave no shell (This account[31m is not available.): the user needs a login shell there that can run /bin/sh',
    });
  });
});

describe('the report of the other side', () => {
  it('has a state, sizes, the record and processes', () => {
    const text =
      'state ended\nout  12\nerr 0\nleftover 7 my name\u001b[31m\nkill 8 sh\nrecord code=0\nrecord started=1\n';
    expect(parseReport(text)).toEqual({
      state: 'ended',
      sizes: { stdout: 12, stderr: 0, boot: 0, command: 0 },
      record: 'code=0\nstarted=1',
      leftovers: [{ pid: 7, name: 'my name[31m' }],
      killed: [{ pid: 8, name: 'sh' }],
      why: null,
    });
  });

  it('says nothing when it is empty', () => {
    expect(parseReport('')).toMatchObject({
      state: 'lost',
      sizes: { stdout: 0, stderr: 0, boot: 0, command: 0 },
      record: '',
    });
    expect(parseProcess('')).toEqual({ pid: 0, name: '' });
  });
});

it('takes whatever is thrown for a failure', () => {
  const failure = { kind: 'refused', message: 'no' } as const;
  expect(failureOf(new SshError(failure))).toEqual(failure);
  expect(failureOf(new Error('no'))).toEqual({ kind: 'lost', message: 'no' });
  expect(failureOf('no')).toEqual({ kind: 'lost', message: 'no' });
});

it('tells what a ladder did', () => {
  expect(ladderWords('claimed\n', 'build', 300)).toBeNull();
  expect(ladderWords('', 'build', 300)).toEqual([]);
  expect(ladderWords('group 12\n', 'build', 300)).toEqual(['SIGTERM sent to process group 12 on build']);
  expect(ladderWords('group 0\nterm 7 sh\nleft 7 sh\nkill 7 sh\n', 'build', 300)).toEqual([
    'SIGTERM sent on build: sh (7)',
    'SIGKILL after 0.3 s: sh (7)',
    'still alive after SIGKILL: sh (7)',
  ]);
});

it('quotes whatever a shell could take for something else', () => {
  expect(quote(`it's $(id)`)).toBe(`'it'\\''s $(id)'`);
});
