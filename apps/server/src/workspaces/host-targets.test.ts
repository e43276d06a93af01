import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Host, TargetList } from '@vmo/contract';
import { startSshd, until } from '@vmo/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { refusal, startHostPlace, type HostPlace } from '../hosts/host.test.support.ts';

let place: HostPlace;
let host: Host;
beforeAll(async () => {
  place = await startHostPlace();
  ({ host } = await place.trustedHost('far'));
}, 60_000);
afterAll(() => place[Symbol.asyncDispose]());

const names = ({ targets }: TargetList) => targets.map(({ name }) => name);

async function addWorkspace(name: string, on = host, subdirectory = name) {
  const directory = join(place.home, subdirectory);
  await mkdir(directory, { recursive: true });
  const body = { name, directory, hostId: on.id };
  const { workspace } = await place.server.client.call('addWorkspace', { body });
  const params = { workspaceId: workspace.id };
  return {
    workspace,
    write: (file: string, text: string) => writeFile(join(directory, file), text),
    targets: () => place.server.client.call('listTargets', { params }),
    path: (file: string) => join(directory, file),
  };
}

describe('a workspace on a host', () => {
  it('is refused at once when its directory is not there, or is a file', async () => {
    const { client } = place.server;
    const add = (directory: string) =>
      refusal(client.call('addWorkspace', { body: { name: 'bad', directory, hostId: host.id } }));
    expect(await add('/no/such/place')).toEqual({
      code: 'DIRECTORY_UNUSABLE',
      message: '/no/such/place on far does not exist',
    });
    expect(await add('/etc/passwd')).toMatchObject({ code: 'DIRECTORY_UNUSABLE' });
    expect((await client.call('listWorkspaces')).workspaces.map(({ name }) => name)).not.toContain('bad');
  });

  it('begins at the home directory there, for a tilde', async () => {
    const body = { name: 'home', directory: '~', hostId: host.id };
    const { workspace } = await place.server.client.call('addWorkspace', { body });
    expect(workspace.directory).toBe(place.home);
  });
});

describe('the make targets of a directory on a host', () => {
  it('are those that make there sees, with description, place and variables', async () => {
    const { write, targets } = await addWorkspace('full');
    await write(
      'Makefile',
      'BIN ?= app ## What to build\nall: $(BIN) ## Everything\n\n# Compile\n# it all.\n$(BIN): main.c\n\tcc\nmain.c:\n' +
        'include more.mk\n.PHONY: all\n',
    );
    await write('more.mk', '\n# From afar\nfar: all\n\ttrue\n');
    expect(await targets()).toEqual({
      makefile: 'Makefile',
      defaultTarget: 'all',
      variables: [{ name: 'BIN', value: 'app', description: 'What to build' }],
      targets: [
        {
          name: 'all',
          description: 'Everything',
          prerequisites: ['app'],
          phony: true,
          file: 'Makefile',
          line: 2,
        },
        {
          name: 'app',
          description: 'Compile it all.',
          prerequisites: ['main.c'],
          phony: false,
          file: 'Makefile',
          line: 6,
        },
        {
          name: 'far',
          description: 'From afar',
          prerequisites: ['all'],
          phony: false,
          file: 'more.mk',
          line: 3,
        },
      ],
    });
  });

  it('are none without a Makefile, and there as soon as one is', async () => {
    const { write, targets } = await addWorkspace('young');
    expect(await targets()).toEqual({ targets: [], variables: [], defaultTarget: null, makefile: null });
    await write('makefile', 'one: ; true\n');
    expect(names(await targets())).toEqual(['one']);
  });

  it('are asked for again when a file that was read changes, and only then', async () => {
    const { write, targets, path } = await addWorkspace('changing');
    await write('Makefile', `ASKED := $(shell echo x >>${path('../asked')})\ninclude more.mk\n`);
    await write('more.mk', 'one: ; true\n');
    expect(names(await targets())).toEqual(['one']);
    expect(names(await targets())).toEqual(['one']);
    expect(await readFile(path('../asked'), 'utf8')).toBe('x\n');
    await write('more.mk', 'two: ; true\nthree: ; true\n');
    expect(names(await targets())).toEqual(['two', 'three']);
    await write('GNUmakefile', 'four: ; true\n');
    expect(names(await targets())).toEqual(['four']);
  });

  it('include those of a file that make has to make first, and nothing of a recipe runs', async () => {
    const { write, targets, path } = await addWorkspace('made');
    await write(
      'Makefile',
      'all:\n\t+touch canary\n\t$(MAKE) all\ninclude made.mk\nmade.mk: ; printf "late: ; true\\n" >$@\n',
    );
    expect(names(await targets())).toEqual(['all', 'late']);
    expect(existsSync(path('canary'))).toBe(false);
  });

  it('work in directories with names that a shell could misunderstand', async () => {
    for (const odd of [`it's "odd" $(touch canary)`, '-f; touch canary', 'ünï\ncödé #1 %h']) {
      const { write, targets, path } = await addWorkspace(odd.replaceAll('\n', ' '), host, odd);
      await write('Makefile', '# Odd\nx: ; true\n');
      expect((await targets()).targets).toMatchObject([{ name: 'x', description: 'Odd' }]);
      expect(existsSync(path('canary'))).toBe(false);
    }
    expect(existsSync(join(place.home, 'canary'))).toBe(false);
  });

  it("fail with make's own words, file and line, when the Makefile is broken", async () => {
    const { write, targets } = await addWorkspace('broken');
    await write('Makefile', 'a:\n  spaces\n');
    expect(await refusal(targets())).toEqual({
      code: 'MAKE_FAILED',
      message: 'Makefile:2: *** missing separator.  Stop.',
    });
  });

  it('fail when make does not finish, and what it started there is ended', async () => {
    const { write, targets, path } = await addWorkspace('slow');
    await write('Makefile', 'X := $(shell echo $$$$ >pid; exec sleep 600)\nx: ; true\n');
    const { code, message } = await refusal(targets());
    expect([code, message]).toEqual([
      'MAKE_FAILED',
      'make on far did not finish reading Makefile within 10 s',
    ]);
    const pid = (await readFile(path('pid'), 'utf8')).trim();
    await until('the end of the sleeper', () => !existsSync(`/proc/${pid}`));
  }, 30_000);

  it('fail with the reason while the directory or the host is gone', async () => {
    const other = await place.trustedHost('leaving');
    const { targets } = await addWorkspace('left', other.host);
    other.proxy.cut();
    other.proxy.set({ kind: 'refuse' });
    const { code, message } = await refusal(targets());
    expect([code, message]).toEqual(['HOST_UNREACHABLE', expect.stringMatching(/leaving .*check/)]);
    other.proxy.set({ kind: 'pass' });
    expect(names(await targets())).toEqual([]);
    await rm(join(place.home, 'left'), { recursive: true });
    expect(await refusal(targets())).toEqual({
      code: 'DIRECTORY_UNUSABLE',
      message: `${join(place.home, 'left')} on leaving cannot be entered`,
    });
  }, 30_000);

  it('fail with those words where there is no make', async () => {
    await using bare = await startSshd([`SetEnv HOME=${place.home} PATH=${join(place.home, 'no-programs')}`]);
    const { client } = place.server;
    const { port, host: address, user, identityFile, fingerprint } = bare;
    const added = await client.call('addHost', { body: { name: 'bare', address, port, user, identityFile } });
    await client.call('trustHost', { params: { hostId: added.host.id }, body: { fingerprint } });
    const { write, targets } = await addWorkspace('unmade', added.host);
    await write('Makefile', 'x: ; true\n');
    const { code, message } = await refusal(targets());
    expect([code, message]).toEqual([
      'MAKE_FAILED',
      expect.stringMatching(/^make is not there on bare: install it/),
    ]);
  }, 30_000);
});
