import { isFinal, type CommandResult, type RequestChannel, type SimulationRequest } from '@vmo/contract';
import { quote } from './shell.ts';

type Commands = SimulationRequest['commands'];

/** What a request runs, in one line. */
export function commandsLine(commands: Commands): string {
  return typeof commands === 'string' ? commands : commands.join(' ; ');
}

/** The beginning of an id, as people say it: version 7 ids begin with the time, so it is the end that tells them apart. */
export const shortId = (id: string): string => id.slice(-8);

/** `2 of 3`: commands that have ended; empty where there is one only. */
export function commandsDone({ results }: Pick<SimulationRequest, 'results'>): string {
  if (results.length < 2) return '';
  const ended = results.filter(({ status }) => status === 'done' || status === 'failed').length;
  return `${String(ended)} of ${String(results.length)}`;
}

export const stages = ['queued', 'booting', 'ready', 'running'] as const;
export type Stage = (typeof stages)[number];

export const stageWords: Readonly<Record<Stage, string>> = {
  queued: 'queued',
  booting: 'booting',
  ready: 'ready',
  running: 'running',
};

export interface StageTime {
  stage: Stage;
  /** null: not reached yet, or never. */
  at: string | null;
  /** Milliseconds in this stage; null: it was not reached. */
  ms: number | null;
  /** It goes on. */
  isNow: boolean;
}

/** How long each stage took, or has taken by now (`now`: milliseconds since the epoch). */
export function stageTimes(
  request: Pick<SimulationRequest, 'timeline' | 'status'>,
  now: number,
): StageTime[] {
  const { timeline, status } = request;
  const times = [timeline.queued_at, timeline.booting_at, timeline.ready_at, timeline.running_at];
  const end = timeline.finished_at;
  return stages.map((stage, index) => {
    const at = times[index] ?? null;
    if (at === null) return { stage, at, ms: null, isNow: false };
    const next = times.slice(index + 1).find((time) => time !== null) ?? end;
    const isNow = next === null && !isFinal(status);
    const until = next ? Date.parse(next) : isNow ? now : Date.parse(at);
    // The clock of the guest is compared with ours: a little before nothing is nothing.
    return { stage, at, ms: Math.max(0, until - Date.parse(at)), isNow };
  });
}

/** How a command ended, in few words. */
export function resultWords({ status, exit_code: code, signal }: CommandResult): string {
  if (signal !== null) return `ended by ${signal}`;
  if (code !== null) return `exit ${String(code)}`;
  return status === 'done' || status === 'failed' ? 'no exit code' : '';
}

export interface SubmissionWords {
  vms: readonly string[];
  /** Of each request. */
  requests: readonly (readonly string[])[];
  timeout: number | null;
  env: Readonly<Record<string, string>>;
  artifacts: readonly string[];
  labels: Readonly<Record<string, string>>;
  priority: number;
  channel: RequestChannel | null;
  login: { user: string; password?: string } | null;
  retry: number;
  warm: boolean;
  keepOnFailure: boolean;
  keepGoing: boolean;
  hold: boolean;
}

/** The same for a shell: one call of `vmo submit` for each list of commands. */
export function submitCalls(words: SubmissionWords): string {
  const pair = (flag: string, record: Readonly<Record<string, string>>): string[] =>
    Object.entries(record).map(([name, value]) => `${flag} ${quote(`${name}=${value}`)}`);
  const options = [
    ...(words.timeout === null ? [] : [`--timeout ${String(words.timeout)}s`]),
    ...pair('-e', words.env),
    ...words.artifacts.map((path) => `--artifact ${quote(path)}`),
    ...pair('-l', words.labels),
    ...(words.priority === 0 ? [] : [`--priority ${String(words.priority)}`]),
    ...(words.retry === 0 ? [] : [`--retry ${String(words.retry)}`]),
    ...(words.channel === null ? [] : [`--channel ${words.channel}`]),
    ...(words.login === null ? [] : [`--login ${quote(words.login.user)}`]),
    ...(words.warm ? ['--warm'] : []),
    ...(words.keepOnFailure ? ['--keep-on-failure'] : []),
    ...(words.keepGoing ? ['--keep-going'] : []),
    ...(words.hold ? ['--hold'] : []),
  ];
  const vms = quote(words.vms.join(','));
  // Not among the arguments, which others on the machine can read.
  const password =
    words.login?.password === undefined ? [] : [`VMO_LOGIN_PASSWORD=${quote(words.login.password)}`];
  return words.requests
    .map((commands) => {
      const [only = '', ...more] = commands;
      const what =
        more.length === 0 ? [`-- ${quote(only)}`] : commands.map((command) => `-c ${quote(command)}`);
      return [...password, 'vmo submit', vms, ...options, ...what].join(' ');
    })
    .join('\n');
}
