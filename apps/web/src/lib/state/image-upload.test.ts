import { CodedError, type Image } from '@vmo/contract';
import { expect, it } from 'vitest';
import { sendFile, type UploadTransport } from './image-upload.ts';

const size = 5 * 1024 * 1024;
const file = new Blob([new Uint8Array(size).map((_, n) => n % 251)]);

/** A server that keeps what it is sent; `fail` may break a piece off. */
function server(fail: (piece: number) => Error | 'half' | null = () => null) {
  const kept: Uint8Array[] = [];
  let received = 0;
  let piece = 0;
  const image = (): Image => ({
    name: 'disk.raw',
    kind: 'disk',
    format: null,
    sizeBytes: size,
    virtualSizeBytes: null,
    sha256: null,
    state: received < size ? 'uploading' : 'ready',
    receivedBytes: received,
    reason: null,
    usedBy: 0,
    createdAt: '2026-01-01T00:00:00.000Z',
    createdBy: 'owner',
  });
  const transport: UploadTransport = {
    async send(bytes, offset, signal) {
      signal.throwIfAborted();
      if (offset !== received) throw new CodedError('WRONG_OFFSET', `go on at ${String(received)}`);
      const failure = fail(piece++);
      if (failure instanceof Error) throw failure;
      const all = new Uint8Array(await bytes.arrayBuffer());
      const taken = failure === 'half' ? all.slice(0, all.length / 2) : all;
      kept.push(taken);
      received += taken.length;
      if (failure === 'half') throw new TypeError('network');
      return image();
    },
    ask: () => Promise.resolve(image()),
    pause: () => Promise.resolve(),
    now: () => performance.now(),
  };
  return {
    transport,
    get bytes() {
      return new Blob(kept.map((one) => one.slice().buffer));
    },
    get received() {
      return received;
    },
  };
}

const whole = async (blob: Blob) => Buffer.from(await blob.arrayBuffer());

it('a file arrives whole, and how far it is is told', async () => {
  const to = server();
  const told: number[] = [];
  const image = await sendFile(file, 0, to.transport, new AbortController().signal, (n) => told.push(n));
  expect(image.state).toBe('ready');
  expect((await whole(to.bytes)).equals(await whole(file))).toBe(true);
  expect(told.at(-1)).toBe(size);
  expect([...told].sort((a, b) => a - b)).toEqual(told);
});

it('a piece that broke off half-way is not sent twice', async () => {
  const to = server((piece) => (piece === 1 ? 'half' : null));
  await sendFile(file, 0, to.transport, new AbortController().signal, () => undefined);
  expect((await whole(to.bytes)).equals(await whole(file))).toBe(true);
});

it('it goes on where the server is, whatever the browser thought', async () => {
  const to = server();
  await to.transport.send(file.slice(0, 1000), 0, new AbortController().signal);
  await sendFile(file, 0, to.transport, new AbortController().signal, () => undefined);
  expect((await whole(to.bytes)).equals(await whole(file))).toBe(true);
});

it('what the server refuses ends it, and so does a network that stays away', async () => {
  const signal = new AbortController().signal;
  const refused = server(() => new CodedError('IMAGE_REFUSED', 'it has a backing file'));
  await expect(sendFile(file, 0, refused.transport, signal, () => undefined)).rejects.toThrow('backing file');
  const away = server(() => new TypeError('network'));
  await expect(sendFile(file, 0, away.transport, signal, () => undefined)).rejects.toThrow('network');
});

it('a pause takes effect at once and is not an error to try again after', async () => {
  const stop = new AbortController();
  const to = server();
  const sending = sendFile(file, 0, to.transport, stop.signal, () => stop.abort());
  await expect(sending).rejects.toMatchObject({ name: 'AbortError' });
  expect(to.received).toBeLessThan(size);
});
