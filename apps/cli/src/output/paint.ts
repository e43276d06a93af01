import { styleText } from 'node:util';
import type { JobStatus, VmStatus } from '@vmo/contract';
import type { Environment } from '../world.ts';

type Format = Parameters<typeof styleText>[0];

/** Colours words, or leaves them as they are. */
export interface Paint {
  readonly isOn: boolean;
  good(text: string): string;
  bad(text: string): string;
  warn(text: string): string;
  busy(text: string): string;
  dim(text: string): string;
  strong(text: string): string;
  /** By what it means. */
  status(status: string): string;
}

type Meaning = 'good' | 'bad' | 'warn' | 'busy' | 'dim';

const meanings: Readonly<Record<JobStatus | VmStatus, Meaning>> = {
  pending: 'dim',
  hold: 'dim',
  acknowledged: 'busy',
  running: 'busy',
  done: 'good',
  failed: 'bad',
  cancelled: 'warn',
  timed_out: 'bad',
  lost: 'bad',
  stopped: 'dim',
  starting: 'busy',
  paused: 'dim',
  stopping: 'busy',
  crashed: 'bad',
  unknown: 'bad',
};

const formats: Readonly<Record<Meaning, Format>> = {
  good: 'green',
  bad: 'red',
  warn: 'yellow',
  busy: 'cyan',
  dim: 'gray',
};

/** Colour only where somebody looks, and only if they want it: https://no-color.org, --no-color, TERM=dumb. */
export function wantsColor(stream: { isTTY?: boolean }, env: Environment, isAllowed: boolean): boolean {
  if (!isAllowed || (env.NO_COLOR !== undefined && env.NO_COLOR !== '')) return false;
  return stream.isTTY === true && env.TERM !== 'dumb';
}

export function createPaint(isOn: boolean): Paint {
  const styled = (format: Format) => (text: string) =>
    isOn && text !== '' ? styleText(format, text, { validateStream: false }) : text;
  const isKnown = (status: string): status is keyof typeof meanings => status in meanings;
  return {
    isOn,
    good: styled(formats.good),
    bad: styled(formats.bad),
    warn: styled(formats.warn),
    busy: styled(formats.busy),
    dim: styled(formats.dim),
    strong: styled('bold'),
    status: (status) => (isKnown(status) ? styled(formats[meanings[status]])(status) : status),
  };
}
