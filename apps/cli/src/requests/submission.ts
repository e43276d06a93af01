import { randomUUID } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { resolve } from 'node:path';
import { GuestLogin, maxRequestFileBytes, type RequestChannel, type RequestFile } from '@vmo/contract';
import type { z } from 'zod';
import type { Cli } from '../cli.ts';
import { CliError, exitCodes } from '../exit-codes.ts';
import { environmentOf } from '../options.ts';
import { bytesWords, toCommand } from '../output/words.ts';

export interface SubmitOptions {
  command?: string[];
  env?: string[];
  file?: string[];
  artifact?: string[];
  label?: string[];
  timeout?: number;
  priority?: number;
  warm?: boolean;
  keepOnFailure?: boolean;
  keepGoing?: boolean;
  retry?: number;
  channel?: RequestChannel;
  login?: string;
  cpus?: number;
  memory?: number;
  hold?: boolean;
  idempotencyKey?: string;
}

type FileToPut = z.input<typeof RequestFile>;

/** So that a password need not stand among the arguments, which everybody on the machine can read. */
export const loginPasswordVariable = 'VMO_LOGIN_PASSWORD';
const mib = 1024 * 1024;

/**
 * What every request of one submission says.
 * @throws CliError usage
 */
export async function toRequest(cli: Cli, words: readonly string[], options: SubmitOptions) {
  const first = words.length === 0 ? [] : [toCommand(words)];
  const commands = [...first, ...(options.command ?? [])];
  if (commands.length === 0) {
    throw new CliError(
      'there is nothing to run: give a command after --, or with --command',
      exitCodes.usage,
    );
  }
  const { world } = cli;
  return {
    commands: commands.length === 1 ? (commands[0] ?? '') : commands,
    env: environmentOf(options.env ?? [], world.env, '--env'),
    files: await readFiles(world.cwd, options.file ?? []),
    artifacts: options.artifact ?? [],
    labels: labelsOf(options.label ?? []),
    stop_on_failure: !options.keepGoing,
    warm: options.warm ?? false,
    keep_on_failure: options.keepOnFailure ?? false,
    hold: options.hold ?? false,
    // Made here where none is given, so that an answer that got lost can be asked for again.
    idempotency_key: options.idempotencyKey ?? randomUUID(),
    ...(options.timeout === undefined ? {} : { timeout: Math.ceil(options.timeout) }),
    ...(options.priority === undefined ? {} : { priority: options.priority }),
    ...(options.retry === undefined ? {} : { retry: options.retry }),
    ...(options.channel === undefined ? {} : { channel: options.channel }),
    ...(options.login === undefined
      ? {}
      : { login: loginOf(options.login, world.env[loginPasswordVariable]) }),
    ...(options.cpus === undefined ? {} : { cpus: options.cpus }),
    ...(options.memory === undefined ? {} : { memory_mib: Math.floor(options.memory / mib) }),
  };
}

const emptyIsUnset = (text: string | undefined) => (text === '' ? undefined : text);

/** `user`, with the password of the environment where there is one, or `user:password`. */
function loginOf(text: string, fromEnvironment: string | undefined): GuestLogin {
  const at = text.indexOf(':');
  const user = at < 0 ? text : text.slice(0, at);
  const password = at < 0 ? emptyIsUnset(fromEnvironment) : text.slice(at + 1);
  const read = GuestLogin.safeParse({ user, ...(password !== undefined && { password }) });
  if (read.success) return read.data;
  const [issue] = read.error.issues;
  const what = issue?.path[0] === 'password' ? 'the password' : JSON.stringify(user);
  throw new CliError(`--login: ${what} ${issue?.message ?? 'cannot be used'}`, exitCodes.usage);
}

function labelsOf(entries: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    entries.map((entry) => {
      const at = entry.indexOf('=');
      if (at > 0) return [entry.slice(0, at), entry.slice(at + 1)];
      throw new CliError(`--label takes NAME=value, not ${JSON.stringify(entry)}`, exitCodes.usage);
    }),
  );
}

/** `here:/there`, both paths of files. */
async function readFiles(cwd: string, entries: readonly string[]): Promise<FileToPut[]> {
  const files: FileToPut[] = [];
  let left = maxRequestFileBytes;
  for (const entry of entries) {
    const at = entry.lastIndexOf(':/');
    if (at <= 0) {
      throw new CliError(
        `--file takes a file here and its place in the guest, as test.sh:/root/test.sh, not ${JSON.stringify(entry)}`,
        exitCodes.usage,
      );
    }
    const here = entry.slice(0, at);
    const file = await openFile(resolve(cwd, here), here);
    try {
      const { size, mode } = await file.stat();
      left -= size;
      if (left < 0) {
        throw new CliError(
          `${here} is too much: the files of a request are at most ${bytesWords(maxRequestFileBytes)} together`,
          exitCodes.usage,
        );
      }
      files.push({
        path: entry.slice(at + 1),
        content_base64: (await file.readFile()).toString('base64'),
        // As it is here: a script stays executable.
        mode: (mode & 0o777).toString(8).padStart(3, '0'),
      });
    } finally {
      await file.close();
    }
  }
  return files;
}

async function openFile(path: string, here: string): Promise<FileHandle> {
  let why: string;
  try {
    const file = await open(path);
    if ((await file.stat()).isFile()) return file;
    await file.close();
    why = 'it is no file; pack a folder with tar first';
  } catch (error) {
    why = error instanceof Error && 'code' in error ? String(error.code) : String(error);
  }
  throw new CliError(`--file ${here} cannot be read: ${why}`, exitCodes.usage);
}
