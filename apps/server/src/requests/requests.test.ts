import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findProgram, findSmallGuestParts } from '@vmo/hypervisor';
import { startTestServer, type TestServer } from '@vmo/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

/* The real server with the real QEMU and the small guest, from outside. */

const execute = promisify(execFile);
const isThere = findProgram('qemu-system-x86_64') !== null && (await findSmallGuestParts()).missing === null;
const patience = { timeout: 180_000 };

interface Entry {
  log_type: string;
  output: string;
}

/** What came piece by piece, as it reads: one entry for each change of the stream. */
function joined(entries: readonly Entry[]): [string, string][] {
  const all: [string, string][] = [];
  for (const { log_type: type, output } of entries) {
    const last = all.at(-1);
    if (last?.[0] === type) last[1] += output;
    else all.push([type, output]);
  }
  return all;
}

describe.skipIf(!isThere)('simulation requests', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer();
  }, 60_000);
  afterAll(() => server[Symbol.asyncDispose]());

  /** curl as a person has it who keeps the token in their own ~/.curlrc. */
  async function curl(words: string): Promise<unknown> {
    await writeFile(
      join(server.startDirectory, '.curlrc'),
      `header = "Authorization: Bearer ${server.token}"\n`,
    );
    const { stdout } = await execute('/bin/sh', ['-c', words], {
      env: { PATH: '/usr/bin:/bin', CURL_HOME: server.startDirectory, HOME: server.startDirectory },
    });
    return JSON.parse(stdout);
  }

  it('serve the session with curl that their first users know', patience, async () => {
    const submitted = await curl(`curl -sS -X POST "${server.url}/requests" \\
      -H "Content-Type: application/json" \\
      -d '{
        "vm_name": "small-guest",
        "commands": "echo Hello World && uname -a",
        "timeout": 300
      }'`);
    expect(submitted).toMatchObject({ status: 'pending', message: 'Request created successfully' });
    const { uuid } = submitted as { uuid: string };
    const request = await curl(`curl -sS "${server.url}/requests/${uuid}?wait=60"`);
    expect(request).toMatchObject({
      ...{ uuid, vm_name: 'small-guest', commands: 'echo Hello World && uname -a', timeout: 300 },
      ...{ status: 'done', exit_code: 0, channel: 'runner', log_state: 'verified' },
    });
    const { logs } = (await curl(`curl -sS "${server.url}/requests/${uuid}/logs"`)) as {
      logs: Entry[];
    };
    const typed = logs.findIndex(({ log_type: type }) => type === 'command');
    expect(joined(logs.slice(typed))).toEqual([
      ['command', '$ echo Hello World && uname -a\n'],
      ['stdout', expect.stringMatching(/^Hello World\nLinux /)],
      ['command', expect.stringMatching(/^exit 0 after /)],
      ['boot', expect.stringContaining('Power down')],
      ['system', expect.stringMatching(/^exit 0 after /)],
    ]);
    expect(await curl(`curl -sS -X DELETE "${server.url}/requests/${uuid}"`)).toMatchObject({
      deleted: true,
    });
  });
});
