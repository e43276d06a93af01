import { readFileSync } from 'node:fs';
import { isAbsolute, join, resolve } from 'node:path';
import { parseEnv } from 'node:util';
import { z } from 'zod';
import { CliError, exitCodes } from './exit-codes.ts';
import type { Environment, World } from './world.ts';

/** Where the server is, what lets us in, and where each was found, in words. */
export interface ServerAddress {
  url: string;
  urlFrom: string;
  token: string | null;
  tokenFrom: string;
  /** Its data directory, where it is one on this machine that we know. */
  dataDirectory: string | null;
  /** A server has been started on this data directory and has not been stopped in order. */
  isAnnounced: boolean;
}

/** What a running server leaves in its data directory. */
const Announcement = z.object({ url: z.url(), pid: z.int() });

export const defaultUrl = 'http://127.0.0.1:8000';

function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

function readAnnouncement(dataDirectory: string): z.infer<typeof Announcement> | null {
  const text = readText(join(dataDirectory, 'address.json'));
  if (text === null) return null;
  try {
    return Announcement.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

/** As the server chooses it. */
function defaultDataDirectory(env: Environment, home: string): string {
  if (process.platform === 'darwin') return join(home, 'Library', 'Application Support', 'vmo');
  if (process.getuid?.() === 0) return '/var/lib/vmo';
  const xdg = env.XDG_DATA_HOME;
  return xdg !== undefined && isAbsolute(xdg) ? join(xdg, 'vmo') : join(home, '.local', 'share', 'vmo');
}

/** Empty means unset, as for the server. */
const given = (value: string | undefined): string | null =>
  value === undefined || value === '' ? null : value;

function checkUrl(text: string, from: string): string {
  if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)) return text.replace(/\/+$/, '');
  throw new CliError(
    `${from} is ${JSON.stringify(text)}: it takes an address as ${defaultUrl}`,
    exitCodes.usage,
  );
}

/**
 * Where to go, by `--url`, `VMO_URL`, or what a server on this machine has left in its data directory.
 *
 * A token goes only where it belongs: one of the environment to the address of the environment or to the server of
 * this machine, one of a data directory or of `.env` to the server that goes with it. So a `.env` of a stranger's
 * directory cannot have our token sent anywhere.
 * @throws CliError usage, when the address is none
 */
export function findServer(
  { env, cwd, home }: Pick<World, 'env' | 'cwd' | 'home'>,
  urlOption: string | undefined,
): ServerAddress {
  const file = parseEnv(readText(join(cwd, '.env')) ?? '');
  const ownDirectory = given(env.VMO_DATA_DIR);
  const fileDirectory = ownDirectory === null ? given(file.VMO_DATA_DIR) : null;
  const dataDirectory = resolve(cwd, ownDirectory ?? fileDirectory ?? defaultDataDirectory(env, home));
  const announced = readAnnouncement(dataDirectory);
  const kept = (): Pick<ServerAddress, 'token' | 'tokenFrom'> => {
    const path = join(dataDirectory, 'token');
    const token = given(readText(path)?.trim());
    return token === null
      ? { token: null, tokenFrom: `none: ${path} cannot be read` }
      : { token, tokenFrom: path };
  };
  const ofEnvironment = given(env.VMO_TOKEN);
  const ofFile = given(file.VMO_TOKEN);

  const wanted = given(urlOption) ?? given(env.VMO_URL);
  if (wanted !== null) {
    const urlFrom = given(urlOption) === null ? 'VMO_URL' : '--url';
    const url = checkUrl(wanted, urlFrom);
    const isOurs = announced !== null && new URL(announced.url).origin === new URL(url).origin;
    const credential =
      ofEnvironment !== null
        ? { token: ofEnvironment, tokenFrom: 'VMO_TOKEN' }
        : isOurs && ofFile !== null
          ? { token: ofFile, tokenFrom: '.env' }
          : isOurs
            ? kept()
            : { token: null, tokenFrom: 'none: VMO_TOKEN is not set' };
    return { url, urlFrom, ...credential, dataDirectory: isOurs ? dataDirectory : null, isAnnounced: isOurs };
  }

  const environmentFits = ofEnvironment !== null && fileDirectory === null;
  const credential = environmentFits
    ? { token: ofEnvironment, tokenFrom: 'VMO_TOKEN' }
    : ofFile !== null
      ? { token: ofFile, tokenFrom: '.env' }
      : kept();
  return {
    url: announced?.url ?? defaultUrl,
    urlFrom: announced ? join(dataDirectory, 'address.json') : 'default',
    ...credential,
    dataDirectory,
    isAnnounced: announced !== null,
  };
}
