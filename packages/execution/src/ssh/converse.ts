import { randomBytes } from 'node:crypto';
import type { SshClient, SshSession, SshTarget } from './client.ts';
import { explainFailure, SshError } from './failure.ts';
import { SegmentSplitter } from './segments.ts';

export const defaultReadyTimeoutMs = 30_000;

export const newNonce = () => randomBytes(16).toString('hex');

/** What the other side said before it was ours. */
const maxNoise = 500;

/** Reads a stream's segments one after the other; the next bytes are not taken before the handler is done with these. */
export async function readSegments(
  stream: SshSession['stdout'],
  nonce: string,
  onPiece: (segment: number, bytes: Buffer) => void | Promise<void>,
): Promise<void> {
  const splitter = new SegmentSplitter(nonce);
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    for (const { segment, bytes } of splitter.push(chunk)) await onPiece(segment, bytes);
  }
}

/** Keeps the first words of a login shell, for when nothing else comes. */
export class Noise {
  text = '';
  add(bytes: Buffer): void {
    this.text = (this.text + bytes.toString('utf8')).slice(0, maxNoise);
  }
}

export interface Conversation {
  words: readonly string[];
  /** Segments of stdout until it is complete. */
  segments: number;
  stdin?: string;
  timeoutMs: number;
  /** Of stdout and of stderr; more ends the conversation. */
  maxBytes: number;
}

export interface Answer {
  /** A segment; 0 is the noise before the first marker. */
  text(stream: 'stdout' | 'stderr', segment: number): string;
  /** There was more than asked for. */
  truncated: boolean;
}

/**
 * Sends a script and collects what it answers.
 * @param script is given the nonce of its markers
 * @throws SshError when the answer did not come whole
 */
export async function converse(
  client: SshClient,
  target: SshTarget,
  script: (nonce: string) => string,
  { words, segments, stdin, timeoutMs, maxBytes }: Conversation,
): Promise<Answer> {
  const nonce = newNonce();
  const session = await client.open(target, ...words);
  const noise = new Noise();
  const pieces = { stdout: [] as Buffer[][], stderr: [] as Buffer[][] };
  const state = { complete: false, truncated: false, timedOut: false };
  const timer = setTimeout(() => {
    state.timedOut = !state.complete;
    session.kill();
  }, timeoutMs);
  session.stdin.write(script(nonce));
  const collect = (name: 'stdout' | 'stderr') => {
    let size = 0;
    return readSegments(session[name], nonce, (segment, bytes) => {
      if (segment === 0) {
        noise.add(bytes);
        return;
      }
      if (name === 'stdout' && segment === 1 && bytes.length === 0 && stdin !== undefined)
        session.stdin.end(stdin);
      size += bytes.length;
      if (size > maxBytes) {
        state.truncated = true;
        session.kill();
        return;
      }
      (pieces[name][segment] ??= []).push(bytes);
      if (name === 'stdout' && segment === segments) {
        state.complete = true;
        session.stdin.end();
      }
    });
  };
  try {
    // A killed session can end a stream with an error: then the answer is not complete, which is looked at below.
    await Promise.allSettled([collect('stdout'), collect('stderr')]);
    const { log } = await session.ended;
    // Also where the other side still says what became of a script that was ended.
    if (state.timedOut) {
      if (pieces.stdout.length === 0) await client.dropConnection(target);
      const seconds = String(timeoutMs / 1000);
      throw new SshError({
        kind: 'unreachable',
        message: `${target.name} did not answer within ${seconds} s`,
      });
    }
    if (!state.complete && !state.truncated) throw new SshError(explainFailure(target.name, log, noise.text));
  } finally {
    clearTimeout(timer);
  }
  return {
    text: (stream, segment) => Buffer.concat(pieces[stream][segment] ?? []).toString('utf8'),
    truncated: state.truncated,
  };
}
