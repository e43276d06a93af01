import { setTimeout as delay } from 'node:timers/promises';
import { UnreachableError, type Client } from '@vmo/client';
import { CodedError, type VmHost } from '@vmo/contract';
import type { ServerAddress } from '../find-server.ts';
import { bytesWords, listWords } from '../output/words.ts';
import { ok, problem, warning, type Finding } from './check.ts';

const gib = 1024 ** 3;
/** Guests are booted with and without KVM. */
const probeMs = 120_000;
const askAgainMs = 500;

/** What the server says, from the way to it to what it can do for machines. */
export async function checkServer(
  client: Client,
  address: ServerAddress,
  tell: (words: string) => void,
): Promise<Finding[]> {
  tell(`asking ${address.url}`);
  const readiness = await client.call('readiness').catch((error: unknown) => {
    if (error instanceof UnreachableError || error instanceof CodedError) return error;
    throw error;
  });
  if (readiness instanceof Error) return [unreachable(address, readiness)];
  const findings = [
    ok('server', `${address.url} answers`),
    readiness.database === 'up'
      ? ok('its database', 'up')
      : problem(
          'its database',
          'down',
          'Look at what the server says on standard error; it goes on by itself when the database is back.',
        ),
    readiness.agent === 'up'
      ? ok('its agent', 'up')
      : problem('its agent', 'down', 'Start the server again: running jobs go on.'),
    ...readiness.problems.map((words) => problem('its disk', words, 'Make room there.')),
    ...(readiness.unstoredJobs > 0
      ? [
          warning(
            'its log',
            `output of ${String(readiness.unstoredJobs)} jobs waits to be stored`,
            'Nothing is lost; the database has to come back or get room.',
          ),
        ]
      : []),
  ];
  const session = await client.call('getInfo').catch((error: unknown) => {
    if (error instanceof CodedError) return error;
    throw error;
  });
  if (session instanceof CodedError) return [...findings, refused(address, session)];
  tell('having the server boot a guest');
  return [...findings, ok('token', `is accepted (${address.tokenFrom})`), ...(await checkHost(client))];
}

function unreachable({ url, isAnnounced }: ServerAddress, error: Error): Finding {
  const mend = isAnnounced
    ? 'A server has run here and was not stopped in order: start it again (vmo up), its jobs have gone on.'
    : 'Start it (vmo up, or npm start), or set VMO_URL to where it is.';
  return problem('server', error.message || `${url} cannot be reached`, mend);
}

function refused({ tokenFrom, token }: ServerAddress, error: CodedError): Finding {
  const words =
    token === null
      ? `there is none (${tokenFrom})`
      : `the one from ${tokenFrom} is refused: ${error.message}`;
  return problem(
    'token',
    words,
    'It is in the file token of the server’s data directory, or what VMO_TOKEN was there; set VMO_TOKEN here.',
  );
}

async function checkHost(client: Client): Promise<Finding[]> {
  try {
    const deadline = Date.now() + probeMs;
    let { host } = await client.call('getVmHost');
    while (host.probing && Date.now() < deadline) {
      await delay(askAgainMs);
      ({ host } = await client.call('getVmHost'));
    }
    return hostFindings(host);
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    return [warning('its machines', error.message, 'Machines cannot be looked at; all else works.')];
  }
}

function hostFindings(host: VmHost): Finding[] {
  const { qemu, kvm, words, freeStorageBytes, strangers } = host;
  const storage = `${host.storagePath}: ${bytesWords(freeStorageBytes)} free`;
  return [
    qemu
      ? ok('its QEMU', `${qemu.version} (${qemu.path})`)
      : problem('its QEMU', words, 'Install qemu-system-x86 and qemu-utils on the server’s machine.'),
    ...(qemu
      ? [
          kvm === 'works'
            ? ok('its KVM', 'works: a guest was booted')
            : warning(
                'its KVM',
                words,
                'Machines run emulated. vmo doctor on the server’s machine says how to mend it.',
              ),
        ]
      : []),
    freeStorageBytes !== null && freeStorageBytes < 2 * gib
      ? warning('its storage', storage, 'Make room: images and disks need some.')
      : ok('its storage', storage),
    ...(strangers.length > 0
      ? [
          ok(
            'other machines',
            `left alone: ${listWords(strangers.map(({ name, pid }) => `${name} (pid ${String(pid)})`))}`,
          ),
        ]
      : []),
  ];
}
