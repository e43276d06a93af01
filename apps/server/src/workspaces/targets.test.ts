import { existsSync } from 'node:fs';
import { mkdir, readdir, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TargetList } from '@vmo/contract';
import { temporaryDirectory } from '@vmo/testkit';
import { describe, expect, it } from 'vitest';
import { localMakeDirectory } from './local-make.ts';
import { createTargets } from './targets.ts';

const environment = { PATH: '/usr/local/bin:/usr/bin:/bin' };

/** Writes files (name → text), lists the targets, and hands both over. */
async function withMakefiles(
  files: Record<string, string>,
  check: (list: TargetList, directory: string) => unknown,
  subdirectory = '',
): Promise<void> {
  await using root = await temporaryDirectory();
  const directory = join(root.path, subdirectory);
  await mkdir(directory, { recursive: true });
  for (const [name, text] of Object.entries(files)) await writeFile(join(directory, name), text);
  await check(await createTargets().list(localMakeDirectory(directory, environment)), directory);
}

const names = (list: TargetList) => list.targets.map(({ name }) => name);
const find = (list: TargetList, name: string) => list.targets.find((target) => target.name === name);

describe('the make targets of a directory', () => {
  it('come with description, prerequisites, phony mark and place', () =>
    withMakefiles(
      {
        Makefile:
          'all: build ## Everything\n\n# Compile\n# it all.\nbuild: main.c | out\n\t@echo hi\nmain.c:\nout: ; mkdir out\n.PHONY: all build\n',
      },
      (list) => {
        expect(list.makefile).toBe('Makefile');
        expect(list.defaultTarget).toBe('all');
        expect(list.targets).toEqual([
          {
            name: 'all',
            description: 'Everything',
            prerequisites: ['build'],
            phony: true,
            file: 'Makefile',
            line: 1,
          },
          {
            name: 'build',
            description: 'Compile it all.',
            prerequisites: ['main.c', 'out'],
            phony: true,
            file: 'Makefile',
            line: 5,
          },
          { name: 'out', description: '', prerequisites: [], phony: false, file: 'Makefile', line: 8 },
        ]);
      },
    ));

  it('are none without a Makefile', () =>
    withMakefiles({}, (list) => {
      expect(list).toEqual({ targets: [], variables: [], defaultTarget: null, makefile: null });
    }));

  it('include those of included files, with the place there', () =>
    withMakefiles(
      { Makefile: 'include more.mk\n-include absent.mk\n', 'more.mk': '\n# From afar\nfar:\n\ttrue\n' },
      (list) => {
        expect(list.targets).toMatchObject([
          { name: 'far', description: 'From afar', file: 'more.mk', line: 3 },
        ]);
      },
    ));

  it('include those of a file that make has to make first', () =>
    withMakefiles(
      { Makefile: 'all: ; true\ninclude made.mk\nmade.mk: ; printf "late: ; true\\n" >$@\n' },
      (list) => {
        expect(names(list)).toEqual(['all', 'late']);
      },
    ));

  it('leave out patterns, special targets, Makefiles and what is only a prerequisite', () =>
    withMakefiles(
      {
        Makefile:
          '.SUFFIXES:\n.DEFAULT: ; true\n%.o: %.c ; cc $<\n.c.o: ; cc $<\nFORCE:\nheader.h:\napp: main.o FORCE ; cc\n',
      },
      (list) => {
        expect(names(list)).toEqual(['app']);
      },
    ));

  it('have their names expanded, and keep the description of the line that has the variable', () =>
    withMakefiles(
      {
        Makefile:
          'BIN := app\nKINDS = fast slow\nall: $(BIN)\n$(BIN): main.c ## The program\nclean-$(BIN): ## Tidy up\n\trm -f x\n' +
          '# Each kind\n$(addprefix test-,$(KINDS)): test-%:\n\techo $*\n',
      },
      (list) => {
        expect(find(list, 'app')).toMatchObject({ description: 'The program', line: 4 });
        expect(find(list, 'clean-app')).toMatchObject({ description: 'Tidy up', line: 5 });
        expect(find(list, 'test-slow')).toMatchObject({ description: 'Each kind', line: 8 });
      },
    ));

  it('include those that $(eval) made', () =>
    withMakefiles(
      {
        Makefile:
          '# A template\ndefine rule\nmake-$(1): ; echo $(1)\nendef\n$(foreach n,a b,$(eval $(call rule,$(n))))\n',
      },
      (list) => {
        expect(list.targets).toMatchObject([
          { name: 'make-a', description: '', line: 5 },
          { name: 'make-b', description: '', line: 5 },
        ]);
      },
    ));

  it('do not take variables of a target for its prerequisites', () =>
    withMakefiles(
      { Makefile: 'debug: CFLAGS += -g\ndebug: export MODE := a b\ndebug: main.c ; cc\nmain.c:\n' },
      (list) => {
        expect(find(list, 'debug')).toMatchObject({ prerequisites: ['main.c'], line: 3 });
      },
    ));

  it('know phony ones wherever .PHONY stands', () =>
    withMakefiles(
      {
        Makefile:
          'ALL = one two\n.PHONY: $(ALL)\none: ; true\ntwo: ; true\nthree: ; true\nfour: ; true\n.PHONY: three\n.PHONY: three\n',
      },
      (list) => {
        expect(list.targets.filter(({ phony }) => phony).map(({ name }) => name)).toEqual([
          'one',
          'two',
          'three',
        ]);
      },
    ));

  it('find the comment above a .PHONY line that stands in between', () =>
    withMakefiles({ Makefile: '# ------\n# Ship it\n.PHONY: ship\nship: ; true\n' }, (list) => {
      expect(list.targets).toMatchObject([{ name: 'ship', description: 'Ship it', line: 4 }]);
    }));

  it('merge the rules of a target with double colons', () =>
    withMakefiles({ Makefile: 'log:: a\n\techo 1\nlog:: b\n\techo 2\na b: ; true\n' }, (list) => {
      expect(find(list, 'log')).toMatchObject({ prerequisites: ['a', 'b'], line: 1 });
      expect(names(list).filter((name) => name === 'log')).toHaveLength(1);
    }));

  it('follow a rule that is continued over several lines', () =>
    withMakefiles({ Makefile: '# Long\nlong: a \\\n  b \\\n  c\n\ttrue\na b c: ; true\n' }, (list) => {
      expect(find(list, 'long')).toMatchObject({
        description: 'Long',
        prerequisites: ['a', 'b', 'c'],
        line: 2,
      });
    }));

  it('respect .DEFAULT_GOAL', () =>
    withMakefiles({ Makefile: 'a: ; true\nb: ; true\n.DEFAULT_GOAL := b\n' }, (list) => {
      expect(list.defaultTarget).toBe('b');
    }));

  it('work in a directory with spaces, and with output of the Makefile itself', () =>
    withMakefiles(
      { Makefile: '$(info # Files)\n$(warning beware)\nx: ; true\n' },
      (list) => {
        expect(names(list)).toEqual(['x']);
      },
      'a directory, with spaces',
    ));

  it('prefer the Makefile that make prefers', () =>
    withMakefiles({ Makefile: 'two: ; true\n', GNUmakefile: 'one: ; true\n' }, (list) => {
      expect(names(list)).toEqual(['one']);
    }));

  it('are listed without running anything of a recipe, also of recursive and forced lines', () =>
    withMakefiles(
      {
        Makefile:
          'all: sub\n\t+touch canary\n\t$(MAKE) sub && touch canary\nsub:\n\ttouch canary\n-include old.mk\nold.mk: newer\n\ttouch canary\n',
        'old.mk': '',
        newer: '',
      },
      (list, directory) => {
        expect(names(list)).toEqual(['all', 'sub']);
        expect(existsSync(join(directory, 'canary'))).toBe(false);
      },
    ));

  it('leave no temporary file behind, also where make begins again for what it made', async () => {
    await using root = await temporaryDirectory();
    const [directory, temporary] = [join(root.path, 'project'), join(root.path, 'temporary')];
    for (const path of [directory, temporary]) await mkdir(path);
    await writeFile(
      join(directory, 'Makefile'),
      'include made.mk\nall: ; @:\nmade.mk: ; @echo "more: ; @:" >$@\n',
    );
    const here = localMakeDirectory(directory, { ...environment, TMPDIR: temporary });
    expect(names(await createTargets().list(here))).toEqual(['all', 'more']);
    expect(await readdir(temporary)).toEqual([]);
  });

  it('say so where there is no make', async () => {
    await using root = await temporaryDirectory();
    await writeFile(join(root.path, 'Makefile'), 'all: ; @:\n');
    await symlink('/bin/sh', join(root.path, 'sh'));
    const here = localMakeDirectory(root.path, { PATH: root.path });
    await expect(createTargets().list(here)).rejects.toMatchObject({
      ...{ code: 'MAKE_FAILED', message: expect.stringContaining('is it installed') as unknown },
    });
  });

  it('fail with the words of make, file and line, when the Makefile is broken', async () => {
    const broken = withMakefiles({ Makefile: 'a:\n  spaces\n' }, () => undefined);
    await expect(broken).rejects.toMatchObject({
      code: 'MAKE_FAILED',
      message: 'Makefile:2: *** missing separator.  Stop.',
    });
    const missing = withMakefiles({ Makefile: 'a: ; true\n\ninclude nowhere.mk\n' }, () => undefined);
    await expect(missing).rejects.toMatchObject({
      code: 'MAKE_FAILED',
      message: expect.stringMatching(/^Makefile:3: nowhere\.mk: No such file or directory/) as string,
    });
  });

  it('are asked for again when a file that was read changes, and only then', async () => {
    await using root = await temporaryDirectory();
    const write = (name: string, text: string) => writeFile(join(root.path, name), text);
    await write('Makefile', 'include more.mk\n');
    await write('more.mk', 'one: ; true\n');
    const targets = createTargets();
    const directory = localMakeDirectory(root.path, environment);
    const first = await targets.list(directory);
    expect(await targets.list(directory)).toBe(first);
    await write('more.mk', 'two: ; true\n');
    await utimes(join(root.path, 'more.mk'), new Date(), new Date(Date.now() + 2_000));
    expect(names(await targets.list(directory))).toEqual(['two']);
    await write('GNUmakefile', 'three: ; true\n');
    expect(names(await targets.list(directory))).toEqual(['three']);
  });
});

describe('the variables that a Makefile offers', () => {
  it('are those with ?=, with value and description', () =>
    withMakefiles(
      {
        Makefile:
          '# Whom to greet\nNAME ?= world\nPORT ?= 80 ## Where to listen\nFIXED = 1\nifdef NEVER\nHIDDEN ?= 1\nendif\nx: ; true\n',
      },
      (list) => {
        expect(list.variables).toEqual([
          { name: 'NAME', value: 'world', description: 'Whom to greet' },
          { name: 'PORT', value: '80', description: 'Where to listen' },
        ]);
      },
    ));
});
