import type { Offsets } from '@vmo/contract';
import { describeProcesses } from '../kill.ts';
import type { SshClient, SshSession, SshTarget } from './client.ts';
import { defaultReadyTimeoutMs, newNonce, Noise, readSegments } from './converse.ts';
import { explainFailure, failureOf, type SshFailure } from './failure.ts';
import type { Mirror } from './mirror.ts';
import { followScript, type RemoteStart } from './remote-script.ts';
import type { RemoteRun } from './remote-shell.ts';

/** A process of the other side. */
export interface NamedProcess {
  pid: number;
  name: string;
}

/** What the other side says about the end of the run. */
export interface EndReport {
  state: 'ended' | 'lost';
  sizes: Offsets;
  /** The exit record, as the wrapper wrote it. */
  record: string;
  leftovers: NamedProcess[];
  /** What had to be killed of a run that was lost. */
  killed: NamedProcess[];
  why: string | null;
}

export type LinkResult =
  /** The mirror is complete; `dismiss` lets the other side remove its run directory. */
  | { kind: 'ended'; report: EndReport; dismiss: () => void }
  /** The command did not begin, or the run is not known there; one of the words of `_fail` in the script. */
  | { kind: 'refused'; refusal: string }
  /** `asked`: the other side was told to begin, and may have. */
  | { kind: 'failed'; asked: boolean; failure: SshFailure };

export interface LinkOptions {
  client: SshClient;
  target: SshTarget;
  run: RemoteRun;
  /** null: the run is known to have begun. */
  start: RemoteStart | null;
  cgroups: boolean;
  mirror: Mirror;
  /** The session, so that it can be killed from outside. */
  onSession: (session: SshSession) => void;
  /** The run has begun, and its output comes. */
  onBegun: () => Promise<void>;
  /** More of it is in the mirror. */
  onOutput: () => void;
}

/** One session with the other side: begins the run or finds it, and mirrors its output until one of both ends. */
export async function followOverLink(options: LinkOptions): Promise<LinkResult> {
  const { client, target, run, mirror } = options;
  const { readyTimeoutMs = defaultReadyTimeoutMs } = client.options;
  const nonce = newNonce();
  const noise = new Noise();
  const stderrAt = new Progress();
  const { promise: settled, resolve: settle, reject: fail } = Promise.withResolvers<LinkResult | null>();
  let header = '';
  let words = '';
  let asked = false;
  let timedOut = false;

  async function follow(session: SshSession): Promise<LinkResult> {
    const end = () => {
      const report = parseReport(words);
      settle({ kind: 'ended', report, dismiss: () => void session.stdin.end('done\n') });
    };
    /** A segment of stdout begins, so the one before it is complete; `followScript` tells what is what. */
    async function onSegment(segment: number): Promise<void> {
      switch (segment) {
        case 1:
          asked = true;
          session.stdin.write(`go ${mirror.sizes.stdout} ${mirror.sizes.stderr}\n`);
          return;
        case 2: {
          clearTimeout(timer);
          const refusal = /^fail (.*)$/m.exec(header)?.[1];
          if (refusal === undefined) await options.onBegun();
          else settle({ kind: 'refused', refusal });
          return;
        }
        case 4: {
          await stderrAt.reached(2);
          const { stdout, stderr } = missing(parseReport(words), mirror.sizes);
          // The tails are stopped at the end wherever they are; what they had not sent yet is asked for.
          if (stdout + stderr === 0) end();
          else
            session.stdin.write(`range ${mirror.sizes.stdout} ${mirror.sizes.stderr} ${stdout} ${stderr}\n`);
          return;
        }
        case 5: {
          await stderrAt.reached(3);
          const { stdout, stderr } = missing(parseReport(words), mirror.sizes);
          if (stdout + stderr > 0) throw new Error(`${stdout + stderr} bytes of its output are missing`);
          end();
        }
      }
    }
    const timer = setTimeout(() => {
      timedOut = true;
      session.kill();
    }, readyTimeoutMs);
    session.stdin.write(followScript(nonce, run, options.start, options.cgroups));
    async function append(stream: 'stdout' | 'stderr', bytes: Buffer): Promise<void> {
      await mirror.append(stream, bytes);
      options.onOutput();
    }
    const readStdout = readSegments(session.stdout, nonce, async (segment, bytes) => {
      if (bytes.length === 0) await onSegment(segment);
      else if (segment === 0) noise.add(bytes);
      else if (segment === 1) header += bytes.toString('utf8');
      else if (segment === 3) words += bytes.toString('utf8');
      else await append('stdout', bytes);
    });
    const readStderr = readSegments(session.stderr, nonce, async (segment, bytes) => {
      if (bytes.length === 0) stderrAt.set(segment);
      else if (segment === 0) noise.add(bytes);
      else await append('stderr', bytes);
    }).finally(() => {
      stderrAt.set(Infinity);
    });
    Promise.all([readStdout, readStderr]).then(() => {
      settle(null);
    }, fail);
    try {
      const result = await settled;
      if (result) return result;
      const { log } = await session.ended;
      if (!timedOut)
        return { kind: 'failed', asked, failure: explainFailure(target.name, log, asked ? '' : noise.text) };
      await client.dropConnection(target);
      const message = `${target.name} did not answer within ${readyTimeoutMs / 1000} s`;
      return { kind: 'failed', asked, failure: { kind: 'lost', message } };
    } catch (error) {
      session.kill();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  try {
    const session = await client.open(target, 'vmo', run.name);
    options.onSession(session);
    return await follow(session);
  } catch (error) {
    return { kind: 'failed', asked, failure: failureOf(error) };
  }
}

/** Tells when a stream has come to a segment. */
class Progress {
  #segment = 0;
  #waiting: { segment: number; wake: () => void }[] = [];

  set(segment: number): void {
    this.#segment = segment;
    for (const { segment: wanted, wake } of this.#waiting) if (wanted <= segment) wake();
  }

  reached(segment: number): Promise<void> {
    if (this.#segment >= segment) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ segment, wake: resolve }));
  }
}

const missing = ({ sizes }: EndReport, have: Offsets): Offsets => ({
  stdout: Math.max(sizes.stdout - have.stdout, 0),
  stderr: Math.max(sizes.stderr - have.stderr, 0),
  boot: 0,
  command: 0,
});

/** A process is told as `pid name`. */
export function parseReport(text: string): EndReport {
  const { all } = parseLines(text);
  return {
    state: all('state')[0] === 'ended' ? 'ended' : 'lost',
    sizes: { stdout: Number(all('out')[0] ?? 0), stderr: Number(all('err')[0] ?? 0), boot: 0, command: 0 },
    record: all('record').join('\n'),
    leftovers: all('leftover').map(parseProcess),
    killed: all('kill').map(parseProcess),
    why: all('why')[0] ?? null,
  };
}

/**
 * What the ladder on the other side did, in words for the log.
 * @returns null: the run had not begun, and never will
 */
export function ladderWords(text: string, host: string, graceMs: number): string[] | null {
  const { all } = parseLines(text);
  if (all('claimed').length > 0) return null;
  const group = all('group')[0];
  if (group === undefined) return [];
  const described = (key: string) => {
    const found = all(key).map(parseProcess);
    return found.length > 0 ? describeProcesses(found) : null;
  };
  const members = described('term');
  const killed = described('kill');
  const left = described('left');
  return [
    `SIGTERM sent${group === '0' ? '' : ` to process group ${group}`} on ${host}${members === null ? '' : `: ${members}`}`,
    ...(killed === null ? [] : [`SIGKILL after ${graceMs / 1000} s: ${killed}`]),
    ...(left === null ? [] : [`still alive after SIGKILL: ${left}`]),
  ];
}

/** Lines of `key words`. */
function parseLines(text: string): { all: (key: string) => string[] } {
  const lines = text.split('\n').map((line): [string, string] => {
    const at = line.indexOf(' ');
    return at < 0 ? [line, ''] : [line.slice(0, at), line.slice(at + 1)];
  });
  return { all: (key) => lines.flatMap(([found, value]) => (found === key ? [value] : [])) };
}

/** A process chooses its own name: only what can be shown is kept of it. */
export function parseProcess(words: string): NamedProcess {
  const [pid = '', ...name] = words.split(' ');
  return { pid: Number(pid), name: name.join(' ').replace(/[\p{Cc}\p{Cf}]/gu, '') };
}
