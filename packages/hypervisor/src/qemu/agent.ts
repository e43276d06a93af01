import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** The guest says what it likes: more than this is no answer. */
const maxAnswerBytes = 1024 * 1024;
const delimiter = 0xff;

/** The guest agent has not answered in time, or refused. */
class AgentError extends Error {
  override name = 'AgentError';
}

export interface GuestAgent {
  /** Whether it answers within this time. */
  answers(timeoutMs: number): Promise<boolean>;
  /** @returns its answer, which is the guest's word: to be parsed. @throws AgentError */
  ask(command: string, args: object, timeoutMs: number): Promise<unknown>;
  /** Sends what is not answered when it succeeds, as guest-shutdown. False: the agent does not answer at all. */
  tell(command: string, args: object, timeoutMs: number): Promise<boolean>;
}

/**
 * Speaks to the agent in the guest by its socket, which serves one at a time: each question has its own connection, and
 * they wait for each other. First it is made sure that the agent lives and that what comes is its answer to us
 * (guest-sync-delimited): the port swallows what is written while nobody reads.
 */
export function createGuestAgent(path: () => Promise<string>): GuestAgent {
  let last: Promise<unknown> = Promise.resolve();
  const whereIs = () =>
    path().catch((error: unknown) => {
      throw new AgentError('the guest agent cannot be reached', { cause: error });
    });
  function inTurn<T>(timeoutMs: number, work: (line: AgentLine) => Promise<T>): Promise<T> {
    const mine = last.then(async () => {
      const socket = connect(await whereIs());
      const timer = setTimeout(() => {
        socket.destroy(new AgentError(`the guest agent did not answer within ${timeoutMs} ms`));
      }, timeoutMs);
      try {
        const line = createLine(socket);
        await once(socket, 'connect');
        await synchronise(line);
        return await work(line);
      } catch (error) {
        if (error instanceof AgentError) throw error;
        throw new AgentError('the guest agent cannot be reached', { cause: error });
      } finally {
        clearTimeout(timer);
        socket.destroy();
      }
    });
    last = mine.catch(() => undefined);
    return mine;
  }

  return {
    answers: (timeoutMs) =>
      inTurn(timeoutMs, async () => true).catch((error: unknown) => {
        if (error instanceof AgentError) return false;
        throw error;
      }),
    ask: (command, args, timeoutMs) =>
      inTurn(timeoutMs, async (line) => {
        await line.send({ execute: command, arguments: args });
        return answerOf(await line.next(), command);
      }),
    tell: (command, args, timeoutMs) =>
      inTurn(timeoutMs, async (line) => {
        await line.send({ execute: command, arguments: args });
        return true;
      }).catch((error: unknown) => {
        if (error instanceof AgentError) return false;
        throw error;
      }),
  };
}

interface AgentLine {
  send(message: object, prefix?: Buffer): Promise<void>;
  next(): Promise<Record<string, unknown>>;
  /** Drops everything up to the agent's mark. */
  skipToMark(): Promise<void>;
}

function createLine(socket: Socket): AgentLine {
  let rest = Buffer.alloc(0);
  let failure: Error | null = null;
  let wake = Promise.withResolvers<undefined>();
  const tell = () => {
    wake.resolve(undefined);
    wake = Promise.withResolvers();
  };
  const fail = (error: Error) => {
    failure ??= error;
    tell();
  };
  socket.on('error', fail);
  socket.on('close', () => fail(new AgentError('the connection to the guest agent ended')));
  socket.on('data', (bytes: Buffer) => {
    rest = Buffer.concat([rest, bytes]);
    if (rest.length > maxAnswerBytes) socket.destroy(new AgentError('the guest agent says too much'));
    tell();
  });
  async function upTo(byte: number): Promise<Buffer> {
    for (;;) {
      const at = rest.indexOf(byte);
      if (at >= 0) {
        const found = rest.subarray(0, at);
        rest = rest.subarray(at + 1);
        return found;
      }
      if (failure) throw failure;
      await wake.promise;
    }
  }
  return {
    send: (message, prefix = Buffer.alloc(0)) =>
      new Promise((resolve, reject) => {
        const line = Buffer.from(`${JSON.stringify(message)}\n`);
        socket.write(Buffer.concat([prefix, line]), (error) => {
          if (error) reject(error);
          else resolve();
        });
      }),
    async next() {
      const message: unknown = JSON.parse((await upTo(0x0a)).toString('utf8'));
      if (typeof message === 'object' && message !== null) return { ...message };
      throw new AgentError('what the guest agent answered is no answer');
    },
    async skipToMark() {
      await upTo(delimiter);
    },
  };
}

async function synchronise(line: AgentLine): Promise<void> {
  const id = randomInt(1, 2 ** 31);
  // The mark in front ends whatever half a message the agent may still have from somebody before us.
  await line.send({ execute: 'guest-sync-delimited', arguments: { id } }, Buffer.from([delimiter]));
  for (;;) {
    await line.skipToMark();
    if ((await line.next()).return === id) return;
  }
}

function answerOf(message: Record<string, unknown>, command: string): unknown {
  if ('return' in message) return message.return;
  const { error } = message;
  const words =
    typeof error === 'object' && error !== null && 'desc' in error ? String(error.desc) : 'no answer';
  throw new AgentError(`${command}: ${words}`);
}
