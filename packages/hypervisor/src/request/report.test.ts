import fc from 'fast-check';
import { expect, it } from 'vitest';
import { addLine, emptyReport, type Report } from './report.ts';

const read = (...lines: string[]): Report => {
  const report = emptyReport();
  for (const line of lines) addLine(report, line);
  return report;
};

it('follows a request from its first line to its last', () => {
  const report = read(
    '3.10 hello 1 guest-agent Linux 6.1.0',
    '3.20 accepted abc',
    '3.30 begin 0',
    '4.30 end 0 0 12 0',
    '4.31 begin 1',
    '5.00 end 1 3 - - late',
    '5.10 artifact 0 40 folder',
    '5.11 no-artifact 1 it is not there',
    '5.20 over',
    '5.30 begin 2',
  );
  expect(report).toEqual({
    ...{
      hellos: 1,
      readyAt: 3.1,
      starter: 'guest-agent',
      system: 'Linux 6.1.0',
      again: 0,
      accepted: true,
      rebooted: false,
    },
    commands: [
      { index: 0, beganAt: 3.3, end: { at: 4.3, code: 0, stdout: 12, stderr: 0, isLate: false } },
      { index: 1, beganAt: 4.31, end: { at: 5, code: 3, stdout: null, stderr: null, isLate: true } },
    ],
    artifacts: [
      { index: 0, bytes: 40, isFolder: true },
      { index: 1, reason: 'it is not there' },
    ],
    ...{ refused: null, over: true },
  });
});

it('knows a guest that boots again from one whose first boot never got a plan', () => {
  expect(read('1 hello 1 runner x', '2 hello 1 runner x').rebooted).toBe(false);
  expect(read('1 hello 1 runner x', '1 accepted y', '2 hello 1 runner x').rebooted).toBe(true);
});

it('refuses a runner of another protocol', () => {
  expect(read('1 hello 2 runner x').refused).toContain('protocol 2');
});

it('believes nothing of what makes no sense', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(
          fc.string(),
          fc
            .tuple(
              fc.constantFrom('1', '-1', 'x', ''),
              fc.constantFrom('hello', 'begin', 'end', 'artifact', 'no-artifact', 'accepted'),
              fc.array(fc.constantFrom('0', '1', '-1', '1e99', 'NaN', '', '-', 'file'), { maxLength: 5 }),
            )
            .map(([at, word, rest]) => [at, word, ...rest].join(' ')),
        ),
      ),
      (lines) => {
        const { commands, artifacts } = read(...lines);
        expect(commands.map(({ index }) => index)).toEqual(commands.map((_, index) => index));
        expect(artifacts.map(({ index }) => index)).toEqual(artifacts.map((_, index) => index));
        for (const { end } of commands) {
          for (const bytes of [end?.stdout, end?.stderr]) expect(bytes ?? 0).toBeGreaterThanOrEqual(0);
        }
      },
    ),
  );
});
