import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { QmpProtocolError } from './errors.ts';
import { parseMessage } from './messages.ts';
import { LineReader, shorten } from './protocol.ts';

function linesOf(pieces: Iterable<Buffer>, limit?: number): string[] {
  const reader = new LineReader(limit);
  return [...pieces].flatMap((piece) => [...reader.push(piece)]);
}

/** Cuts bytes at the given places, in any order and number. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const sorted = [0, ...places.map((place) => place % (bytes.length + 1)), bytes.length].sort(
    (a, b) => a - b,
  );
  return sorted.map((place, index) => bytes.subarray(place, sorted[index + 1]));
}

describe('LineReader', () => {
  it('gives each line without its end, whether QEMU ends it with CR LF or with LF alone', () => {
    expect(linesOf([Buffer.from('{"a":1}\r\n{"b":2}\n')])).toEqual(['{"a":1}', '{"b":2}']);
  });

  it('leaves out empty lines', () => {
    expect(linesOf([Buffer.from('\r\n\n{}\n\r\n')])).toEqual(['{}']);
  });

  it('gives nothing of a line that has not ended, and tells it as the rest', () => {
    const reader = new LineReader();
    expect([...reader.push(Buffer.from('{}\n{"ret'))]).toEqual(['{}']);
    expect(reader.rest).toBe('{"ret');
  });

  it('refuses a line over the limit as soon as it is, ended or not, and takes one that just fits', () => {
    expect(linesOf([Buffer.from('12345678\n'), Buffer.from('12345678\n')], 8)).toHaveLength(2);
    expect(() => linesOf([Buffer.from('1234'), Buffer.from('56789')], 8)).toThrow(
      new QmpProtocolError('a message of more than 8 bytes came: 1234'),
    );
    expect(() => linesOf([Buffer.from('123456789')], 8)).toThrow(QmpProtocolError);
  });

  it('gives the same lines however they are cut, in the middle of characters too', () => {
    const line = fc.string({ unit: 'binary' }).map((text) => text.replaceAll(/[\r\n]/g, ''));
    fc.assert(
      fc.property(fc.array(line), fc.array(fc.nat()), (lines, places) => {
        const bytes = Buffer.from(lines.map((text) => `${text}\r\n`).join(''));
        expect(linesOf(cut(bytes, places))).toEqual(linesOf([bytes]));
      }),
    );
  });

  it('takes any bytes without failing', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array()), (pieces) => {
        linesOf(pieces.map((piece) => Buffer.from(piece)));
      }),
    );
  });
});

describe('parseMessage', () => {
  it('reads a greeting', () => {
    const line =
      '{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian"}, "capabilities": ["oob"]}}';
    expect(parseMessage(line)).toEqual({
      kind: 'greeting',
      greeting: {
        version: { major: 7, minor: 2, micro: 22, package: 'Debian' },
        capabilities: ['oob'],
      },
    });
  });

  it('reads an answer, of whatever value', () => {
    expect(parseMessage('{"return": null, "id": "a"}')).toEqual({ kind: 'return', id: 'a', value: null });
    expect(parseMessage('{"return": {}}')).toEqual({ kind: 'return', id: null, value: {} });
  });

  it('tells an id that is no string as its JSON', () => {
    expect(parseMessage('{"return": {}, "id": 7}')).toMatchObject({ id: '7' });
  });

  it('reads a refusal', () => {
    expect(parseMessage('{"id": "a", "error": {"class": "GenericError", "desc": "no"}}')).toEqual({
      kind: 'error',
      id: 'a',
      class: 'GenericError',
      desc: 'no',
    });
  });

  it('reads an event with its time in milliseconds, and one without data', () => {
    const timestamp = { seconds: 1_700_000_000, microseconds: 250_500 };
    const message = parseMessage(JSON.stringify({ timestamp, event: 'STOP' }));
    expect(message).toEqual({
      kind: 'event',
      event: { event: 'STOP', data: {}, at: 1_700_000_000_250.5 },
    });
  });

  it('knows no time where the host of QEMU did not', () => {
    const timestamp = { seconds: -1, microseconds: -1 };
    expect(parseMessage(JSON.stringify({ timestamp, event: 'STOP' }))).toMatchObject({
      event: { at: null },
    });
  });

  it.each([
    ['(qemu) info status', 'what came is not JSON: (qemu) info status'],
    ['{"return": ', 'what came is not JSON: {"return": '],
    ['[]', 'what came is not a message of QMP: []'],
    ['null', 'what came is not a message of QMP: null'],
    ['"QMP"', 'what came is not a message of QMP: "QMP"'],
    ['{}', 'what came is not a message of QMP: {}'],
    ['{"__proto__":{"return":1}}', 'what came is not a message of QMP: {"__proto__":{"return":1}}'],
    ['{"error":"no"}', 'what came is not a message of QMP: {"error":"no"}'],
    [
      '{"error":{"class":1,"desc":"no"}}',
      'what came is not a message of QMP: {"error":{"class":1,"desc":"no"}}',
    ],
    ['{"event":"STOP"}', 'what came is not a message of QMP: {"event":"STOP"}'],
    ['{"event":1,"timestamp":{}}', 'what came is not a message of QMP: {"event":1,"timestamp":{}}'],
    ['{"QMP":{"version":{}}}', 'what came is not a message of QMP: {"QMP":{"version":{}}}'],
  ])('names what is no message: %s', (line, message) => {
    expect(() => parseMessage(line)).toThrow(new QmpProtocolError(message));
  });

  it('throws nothing but QmpProtocolError, whatever comes', () => {
    const text = fc.oneof(
      fc.string(),
      fc.json(),
      fc.object().map((value) => JSON.stringify(value)),
    );
    const key = fc.constantFrom('QMP', 'return', 'error', 'event', 'id', 'timestamp', 'data', 'version');
    const likely = fc
      .dictionary(key, fc.anything({ maxDepth: 2 }))
      .map((value) => JSON.stringify(value, simple));
    fc.assert(
      fc.property(fc.oneof(text, likely), (line) => {
        try {
          parseMessage(line);
        } catch (error) {
          expect(error).toBeInstanceOf(QmpProtocolError);
        }
      }),
    );
  });
});

const simple = (_key: string, value: unknown) => (typeof value === 'bigint' ? Number(value) : value);

describe('shorten', () => {
  it('says how long the whole is, and shows no control characters', () => {
    expect(shorten('\x1b[2Jabc', 5)).toBe('�[2Ja… (7 characters)');
  });
});
