import type { Artifact, CommandResult, SimulationRequest } from '@vmo/contract';
import { widthOf, type Cli } from '../cli.ts';
import { idColumn } from '../commands/jobs.ts';
import { oneLine, tableLines, type Column } from '../output/table.ts';
import { agoWords, bytesWords, durationWords } from '../output/words.ts';

/** All commands in one line. */
export const commandWords = ({ commands }: Pick<SimulationRequest, 'commands'>): string =>
  typeof commands === 'string' ? commands : commands.join('; ');

export const labelWords = (labels: Readonly<Record<string, string>>): string =>
  Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ');

/** Milliseconds between two moments; null where one of them was not reached. */
function between(from: string | null, to: string | null): number | null {
  return from === null || to === null ? null : Date.parse(to) - Date.parse(from);
}

export function requestColumns(cli: Cli): Column<SimulationRequest>[] {
  const isTable = cli.output === 'table';
  return [
    { ...idColumn<SimulationRequest>(cli, ({ uuid }) => uuid), title: 'UUID' },
    { title: 'STATUS', value: ({ status }) => status, paint: cli.paint.status },
    { title: 'VM', value: ({ vm_name: name }) => name },
    { title: 'EXIT', value: ({ exit_code: code }) => (code === null ? '' : String(code)), isRight: true },
    { title: 'CREATED', value: ({ created_at: at }) => (isTable ? agoWords(at) : at) },
    {
      title: 'TIME',
      value: ({ timeline }) => durationWords(between(timeline.booting_at, timeline.finished_at)),
      isRight: true,
    },
    ...(isTable ? [] : [{ title: 'LABELS', value: ({ labels }: SimulationRequest) => labelWords(labels) }]),
    { title: 'COMMANDS', value: commandWords, isFlexible: true },
    { title: 'MESSAGE', value: ({ message }) => message ?? '', isFlexible: true },
  ];
}

function timelineWords({ timeline, status }: SimulationRequest): string {
  const {
    queued_at: queued,
    booting_at: booting,
    ready_at: ready,
    running_at: running,
    finished_at: end,
  } = timeline;
  const stages: [string, number | null][] = [
    ['queued', between(queued, booting ?? end)],
    ['booting', between(booting, ready ?? end)],
    ['running', between(running ?? ready, end)],
  ];
  const words = stages.flatMap(([stage, ms]) => (ms === null ? [] : [`${stage} ${durationWords(ms)}`]));
  return [...words, status].join(' → ');
}

/** All about a request, for people. */
export async function printRequest(cli: Cli, request: SimulationRequest): Promise<void> {
  const { paint } = cli;
  const { timeline } = request;
  await cli.printFacts(
    [
      ['uuid', request.uuid],
      ['status', paint.status(request.status)],
      ['message', request.message === null ? null : oneLine(request.message)],
      ['vm', `${request.vm_name} (${request.vm_kind})`],
      ['exit code', request.exit_code === null ? null : String(request.exit_code)],
      ['signal', request.signal],
      ['created', `${request.created_at} by ${request.created_by}`],
      ['stages', timelineWords(request)],
      ['finished', timeline.finished_at],
      ['time limit', `${String(request.timeout)} s`],
      ['agent', request.agent === null ? null : `${request.agent}, attempt ${String(request.attempt)}`],
      [
        'channel',
        request.channel === null
          ? null
          : `${request.channel}${request.streams_mixed ? ' (stdout holds stderr as well)' : ''}`,
      ],
      ['priority', request.priority === 0 ? null : String(request.priority)],
      ['labels', labelWords(request.labels)],
      ['batch', request.batch],
      ['environment', request.env_names.join(' ')],
      [
        'files',
        request.files.map(({ path, size_bytes: size }) => `${path} (${bytesWords(size)})`).join(', '),
      ],
      ['machine kept', request.kept_until === null ? null : `until ${request.kept_until}`],
      ['log', `${bytesWords(request.log_bytes)}, ${String(request.line_count)} lines, ${request.log_state}`],
    ],
    request,
  );
  if (cli.output !== 'table') return;
  const width = widthOf(cli.world.stdout);
  await cli.print('', ...tableLines(resultColumns(cli), request.results, width, paint.dim));
  if (request.artifacts.length === 0) return;
  await cli.print('', ...tableLines(artifactColumns(), request.artifacts, width, paint.dim));
}

function resultColumns(cli: Cli): Column<CommandResult>[] {
  return [
    { title: '#', value: ({ index }) => String(index + 1), isRight: true },
    { title: 'STATUS', value: ({ status }) => status, paint: cli.paint.status },
    { title: 'EXIT', value: ({ exit_code: code }) => (code === null ? '' : String(code)), isRight: true },
    { title: 'TIME', value: ({ duration_ms: ms }) => durationWords(ms), isRight: true },
    { title: 'STDOUT', value: ({ stdout_bytes: bytes }) => bytesWords(bytes), isRight: true },
    { title: 'STDERR', value: ({ stderr_bytes: bytes }) => bytesWords(bytes), isRight: true },
    {
      title: 'COMMAND',
      value: ({ name, command }) => (name === null ? command : `${name}: ${command}`),
      isFlexible: true,
    },
  ];
}

export const artifactColumns = (): Column<Artifact>[] => [
  { title: 'ARTIFACT', value: ({ path }) => path, isFlexible: true },
  { title: 'FILE', value: ({ file_name: name }) => name },
  { title: 'SIZE', value: ({ size_bytes: size }) => bytesWords(size), isRight: true },
  { title: 'REASON', value: ({ reason }) => reason ?? '', isFlexible: true },
];
