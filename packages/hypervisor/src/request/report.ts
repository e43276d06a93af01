import { RequestChannel } from '@vmo/contract';

/** What the runner has told so far; see `runner.ts` for its lines. Times are seconds since the guest booted. */
export interface Report {
  /** Times that a runner came up. */
  hellos: number;
  /** When the first one did. */
  readyAt: number | null;
  /** What started the runner. */
  starter: RequestChannel | null;
  /** What the guest calls itself. */
  system: string | null;
  /** Times that the plan came damaged. */
  again: number;
  accepted: boolean;
  /** It came up once more behind that: the guest has booted again. */
  rebooted: boolean;
  commands: ReportedCommand[];
  artifacts: ReportedArtifact[];
  refused: string | null;
  over: boolean;
}

export interface ReportedCommand {
  index: number;
  beganAt: number;
  end: { at: number; code: number; stdout: number | null; stderr: number | null; isLate: boolean } | null;
}

export type ReportedArtifact =
  { index: number; bytes: number; isFolder: boolean } | { index: number; reason: string };

export const emptyReport = (): Report => ({
  ...{ hellos: 0, readyAt: null, starter: null, system: null, again: 0, accepted: false, rebooted: false },
  ...{ commands: [], artifacts: [], refused: null, over: false },
});

const protocol = '1';
/** The guest says what it likes: more than this is no report. */
export const maxReportBytes = 4 * 1024 * 1024;
const maxWords = 500;

/** Adds one line; what is none of ours is passed over, since whoever is root in the guest can write there. */
export function addLine(report: Report, line: string): void {
  const [up = '', word, ...rest] = line.split(' ');
  const at = Number(up);
  if (up === '' || !Number.isFinite(at) || report.over) return;
  const index = Number(rest[0]);
  switch (word) {
    case 'hello':
      if (rest[0] !== protocol) {
        report.refused = `the runner in this guest speaks protocol ${rest[0] ?? ''}, and this version ${protocol}`;
        return;
      }
      report.hellos += 1;
      report.readyAt ??= at;
      report.starter ??= RequestChannel.safeParse(rest[1]).data ?? 'runner';
      report.system ??= rest.slice(2).join(' ').slice(0, maxWords);
      if (report.accepted) report.rebooted = true;
      return;
    case 'again':
      report.again += 1;
      return;
    case 'accepted':
      report.accepted = true;
      return;
    case 'begin':
      if (index === report.commands.length) report.commands.push({ index, beganAt: at, end: null });
      return;
    case 'end': {
      const command = report.commands[index];
      const code = Number(rest[1]);
      if (!command || command.end || !Number.isInteger(code)) return;
      command.end = {
        ...{ at, code, stdout: byteCount(rest[2]), stderr: byteCount(rest[3]) },
        isLate: rest[4] === 'late',
      };
      return;
    }
    case 'artifact':
      if (index !== report.artifacts.length) return;
      report.artifacts.push({ index, bytes: byteCount(rest[1]) ?? 0, isFolder: rest[2] === 'folder' });
      return;
    case 'no-artifact':
      if (index !== report.artifacts.length) return;
      report.artifacts.push({ index, reason: rest.slice(1).join(' ').slice(0, maxWords) });
      return;
    case 'refused':
      report.refused ??= rest.join(' ').slice(0, maxWords);
      return;
    case 'over':
      report.over = true;
      return;
    default: // of a later version, or none of ours
  }
}

function byteCount(word: string | undefined): number | null {
  const count = Number(word);
  return word !== undefined && word !== '' && Number.isSafeInteger(count) && count >= 0 ? count : null;
}
