import { FindQuery, LinesQuery, type FindRow, type JobId, type LogLine } from '@vmo/contract';
import { until } from '@vmo/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startCockpit, untilLogged, type Cockpit } from './harness.test.support.ts';

let cockpit: Cockpit;
beforeAll(async () => {
  cockpit = await startCockpit();
});
afterAll(async () => {
  await cockpit[Symbol.asyncDispose]();
  expect(cockpit.bugs).toEqual([]);
});

const lines = (id: JobId, query: object = {}) => cockpit.jobs.lines(id, LinesQuery.parse(query));
const texts = (all: readonly LogLine[]) => all.map(({ text }) => text);

async function find(id: JobId, query: object): Promise<FindRow[]> {
  const rows: FindRow[] = [];
  for await (const row of await cockpit.jobs.find(id, FindQuery.parse(query))) rows.push(row);
  return rows;
}
const found = (rows: readonly FindRow[]) => rows.flatMap((row) => (row.type === 'matches' ? row.lines : []));

async function ran(command: string): Promise<JobId> {
  const { id } = await cockpit.run(command);
  await cockpit.when(id);
  return id;
}

describe('lines of a log', () => {
  it('have the number of their first byte, however the streams cut into each other', async () => {
    const id = await ran(
      `printf one; sleep 0.1; printf 'two\\n' >&2; sleep 0.1; printf ' and more\\nthree\\nfour'`,
    );
    const page = await lines(id);
    // Two lines of the cockpit's own come first.
    expect(page.lines.slice(2, 6).map(({ number, stream, text }) => [number, stream, text])).toEqual([
      [3, 'stdout', 'one and more'],
      [4, 'stderr', 'two'],
      [5, 'stdout', 'three'],
      [6, 'stdout', 'four'],
    ]);
    expect(page).toMatchObject({ from: 1, count: 7, lineCount: 7 });
    expect((await lines(id, { from: 4, limit: 1 })).lines).toMatchObject([{ number: 4, text: 'two' }]);
    expect((await lines(id, { streams: 'stderr' })).lines).toMatchObject([{ number: 4, text: 'two' }]);
    expect(await lines(id, { streams: 'stdout,stderr', number: 4, limit: 2 })).toMatchObject({
      from: 2,
      count: 4,
      lines: [{ number: 4 }, { number: 5 }],
    });
  });

  it('are read anywhere in a long log, and from its end', async () => {
    const id = await ran('seq 1 200000');
    for (const number of [1, 777, 65_537, 123_456, 200_000]) {
      const page = await lines(id, { from: number + 2, limit: 3 });
      expect(page.lines[0]).toMatchObject({ number: number + 2, text: String(number) });
    }
    const end = await lines(id, { last: 4 });
    expect(texts(end.lines).slice(0, 3)).toEqual(['199998', '199999', '200000']);
    expect(end).toMatchObject({ from: 200_000, count: 200_003 });
    expect((await lines(id, { from: 900_000 })).lines).toEqual([]);
    // All of them, page by page, are what was written.
    let all = '';
    for (let from = 1; from <= 200_002; from += 2000)
      all += (await lines(id, { from, limit: 2000, streams: 'stdout' })).lines
        .map(({ text }) => `${text}\n`)
        .join('');
    expect(all === (await cockpit.bytes(id)).toString()).toBe(true);
  });

  it('are cut where they are longer than asked for, at characters', async () => {
    const id = await ran(`head -c 300000 /dev/zero | tr '\\0' x; echo; printf 'äöü\\n'`);
    const [long, short] = (await lines(id, { from: 3, limit: 2 })).lines;
    expect(long).toMatchObject({ cut: true, open: false });
    expect(long?.text).toHaveLength(16 * 1024);
    expect(short).toMatchObject({ text: 'äöü', cut: false });
    const [whole] = (await lines(id, { from: 3, limit: 1, lineBytes: 1_000_000 })).lines;
    expect(whole).toMatchObject({ cut: false });
    expect(whole?.text).toHaveLength(300_000);
    expect((await lines(id, { from: 4, limit: 1, lineBytes: 3 })).lines[0]?.text).toBe('ä');
  });

  it('begin with the style that the line before left', async () => {
    const id = await ran(`printf '\\033[1;31mred\\nstill red\\n\\033[0mplain\\n'`);
    const page = await lines(id, { from: 4, limit: 2 });
    expect(page.lines.map(({ style }) => style)).toEqual(['\u001b[0;1;38;5;1m', '\u001b[0;1;38;5;1m']);
  });

  it('begin with the style that was set hundreds of thousands of lines before, until it is reset', async () => {
    const id = await ran(
      `printf '\\033[1;38;5;208mon\\n'; seq 2 300000; printf '\\033[31mred\\n' >&2; sleep 0.3; printf '300001\\033[0m\\noff\\n'; echo err >&2`,
    );
    const styleOf = async (text: string, query: object) =>
      (await lines(id, { limit: 3, ...query })).lines.find((line) => line.text.includes(text))?.style;
    const orange = '\u001b[0;1;38;5;208m';
    expect(await styleOf('on', { from: 3 })).toBe('');
    for (const number of [2, 777, 150_000, 299_999])
      expect(await styleOf(String(number), { number: number + 2 })).toBe(orange);
    const end = (await lines(id, { last: 10 })).lines;
    const styles = new Map(end.map(({ text, style }) => [text, style]));
    expect(styles.get('300001\u001b[0m')).toBe(orange);
    expect(styles.get('off')).toBe('');
    expect(styles.get('err')).toBe('\u001b[0;38;5;1m');
    expect((await lines(id, { streams: 'stderr', last: 1 })).lines).toMatchObject([
      { text: 'err', style: '\u001b[0;38;5;1m' },
    ]);
    // What turned it on is kept no more.
    const { lastSeq } = await cockpit.jobs.get(id);
    const ofLog = cockpit.db.deleteFrom('job_events').where('job_id', '=', id);
    await ofLog.where('seq', '<', Math.floor(lastSeq / 2)).execute();
    expect(await styleOf('299999', { number: 300_001 })).toBe(orange);
    // Of a log that was stored before styles were followed, as far as it is read.
    await cockpit.db.updateTable('job_events').set({ style: null }).where('job_id', '=', id).execute();
    expect(await styleOf('299999', { number: 300_001 })).toBe('');
  });

  it('are open while they have not ended', async () => {
    const { id } = await cockpit.run('printf "half a line"; while [ ! -e go ]; do sleep 0.02; done; echo .');
    await untilLogged(cockpit, id, 'half a line');
    expect((await lines(id, { last: 1 })).lines).toMatchObject([
      { text: 'half a line', open: true, cut: false },
    ]);
    await cockpit.run('touch go');
    await cockpit.when(id);
    expect((await lines(id, { from: 3, limit: 1 })).lines).toMatchObject([
      { text: 'half a line.', open: false },
    ]);
  });
});

describe('a search', () => {
  it('finds plain text and patterns, with or without case, in lines as people read them', async () => {
    const id = await ran(
      `printf 'Needle one\\nneedle needle\\n\\033[31mnee\\033[32mdle\\033[0m in colour\\nlast'; printf 'needle' >&2`,
    );
    expect(found(await find(id, { text: 'needle', streams: 'stdout' }))).toEqual([
      [3, 1],
      [4, 2],
      [5, 1],
    ]);
    expect(found(await find(id, { text: 'needle', caseSensitive: 'true', streams: 'stdout' }))).toEqual([
      [4, 2],
      [5, 1],
    ]);
    expect(found(await find(id, { text: '^needle .*e$', regex: 'true' }))).toEqual([
      [3, 1],
      [4, 1],
    ]);
    expect(found(await find(id, { text: 'l.st$', regex: 'true', streams: 'stdout' }))).toEqual([[6, 1]]);
    expect((await find(id, { text: 'nothing of it' })).at(-1)).toMatchObject({ type: 'end', matches: 0 });
  });

  it('finds a line that lies across chunks, and counts every line of a long log right', async () => {
    const id = await ran(`seq 1 300000; head -c 100000 /dev/zero | tr '\\0' x; echo needle`);
    expect(found(await find(id, { text: '299999' }))).toEqual([[300_001, 1]]);
    expect(found(await find(id, { text: 'xneedle' }))).toEqual([[300_003, 1]]);
    const all = await find(id, { text: '99', caseSensitive: 'true', streams: 'stdout' });
    const expected = Array.from({ length: 300_000 }, (_, index) => String(index + 1)).filter((text) =>
      text.includes('99'),
    );
    expect(found(all)).toHaveLength(expected.length);
    expect(found(all).every(([line], index) => String(line - 2) === expected[index])).toBe(true);
  });

  it('stops a pattern that would run for ever, and says so', async () => {
    const id = await ran(`head -c 60 /dev/zero | tr '\\0' a; echo b`);
    const rows = await find(id, { text: '^(a+)+$', regex: 'true' });
    expect(rows).toMatchObject([{ type: 'error', code: 'PATTERN_TOO_SLOW' }]);
    await expect(find(id, { text: '(', regex: 'true' })).rejects.toMatchObject({ code: 'INVALID_INPUT' });
  }, 20_000);

  it('goes on where an earlier one ended, while the job runs', async () => {
    const { id } = await cockpit.run('echo needle 1; while [ ! -e on ]; do sleep 0.02; done; echo needle 2');
    await untilLogged(cockpit, id, 'needle 1');
    const first = (await find(id, { text: 'needle', streams: 'stdout' })).at(-1);
    if (first?.type !== 'end') throw new Error('it has no end');
    await cockpit.run('touch on');
    await cockpit.when(id);
    const rest = await find(id, { text: 'needle', streams: 'stdout', afterSeq: first.seq });
    expect(found(rest)).toEqual([[4, 1]]);
  });

  it('looks at each line once, when it has ended, however many searches go by while it is written', async () => {
    const step = (name: string) => `; while [ ! -e ${name} ]; do sleep 0.02; done; `;
    const { id } = await cockpit.run(
      `echo done; printf nee${step('l1')}echo err needle >&2${step('l2')}echo 'dle and more'; printf 'a last needle'${step('l3')}`,
    );
    let afterSeq = 0;
    const goOn = async (query = {}) => {
      const rows = await find(id, { text: 'needle', afterSeq, ...query });
      const end = rows.at(-1);
      if (end?.type !== 'end') throw new Error('it has no end');
      afterSeq = end.seq;
      return found(rows).filter(([line]) => line > 2); // the command has the words as well
    };
    await untilLogged(cockpit, id, 'nee');
    expect(await goOn()).toEqual([]);
    expect(found(await find(id, { text: '^nee$', regex: 'true' }))).toEqual([]);
    await cockpit.run('touch l1');
    await untilLogged(cockpit, id, 'err needle');
    expect(await goOn()).toEqual([[5, 1]]);
    await cockpit.run('touch l2');
    await untilLogged(cockpit, id, 'a last needle');
    expect(await goOn()).toEqual([[4, 1]]);
    await cockpit.run('touch l3');
    await cockpit.when(id);
    expect(await goOn()).toEqual([[6, 1]]);
    expect(found(await find(id, { text: 'needle', streams: 'stdout,stderr' }))).toEqual([
      [4, 1],
      [5, 1],
      [6, 1],
    ]);
  });

  it('waits for its turn when several others are under way', async () => {
    const id = await ran('echo needle');
    const begin = async () => {
      const rows = await cockpit.jobs.find(id, FindQuery.parse({ text: 'needle', streams: 'stdout' }));
      await rows.next();
      return rows;
    };
    const four = await Promise.all([begin(), begin(), begin(), begin()]);
    let isThere = false;
    const fifth = begin().then((rows) => {
      isThere = true;
      return rows;
    });
    await cockpit.jobs.get(id);
    expect(isThere).toBe(false);
    await four[0].return(undefined);
    await (await fifth).return(undefined);
    await Promise.all(four.map((rows) => rows.return(undefined)));
    expect(found(await find(id, { text: 'needle', streams: 'stdout' }))).toEqual([[3, 1]]);
  });

  it('says that of a line of more than a mebibyte only the beginning was looked at', async () => {
    const id = await ran(`printf needle; head -c 1200000 /dev/zero | tr '\\0' x; echo straw; echo straw`);
    const end = (rows: readonly FindRow[]) => rows.at(-1);
    const straw = await find(id, { text: 'straw', streams: 'stdout' });
    expect(found(straw)).toEqual([[4, 1]]);
    expect(end(straw)).toMatchObject({ type: 'end', longLines: 1 });
    const needle = await find(id, { text: 'needle', streams: 'stdout' });
    expect(found(needle)).toEqual([[3, 1]]);
    expect(end(await find(id, { text: 'needle', streams: 'stderr' }))).toMatchObject({ longLines: 0 });
  });
});

describe('marks', () => {
  const marked = (id: JobId) =>
    until('the marks', async () => {
      const marks = await cockpit.jobs.marks(id);
      const job = await cockpit.jobs.get(id);
      const counted = job.errors + job.warnings === marks.problems.length;
      return marks.upToSeq >= job.lastSeq && counted ? { ...marks, job } : null;
    });

  it('are the groups, errors and warnings of a log, counted in the row of the job', async () => {
    const id = await ran(
      `echo ::group::Set up; echo inside; echo '::group::Deeper'; echo ::endgroup::; echo ::endgroup::
       echo "main.c:4:7: warning: unused variable 'x' [-Wunused-variable]"; echo "main.c: In function 'main':"
       echo 'main.c:9:1: error: expected ;' >&2; echo 'make: *** [Makefile:3: main.o] Error 1' >&2; echo no error here`,
    );
    const { job, groups, problems } = await marked(id);
    expect(job).toMatchObject({ errors: 2, warnings: 1 });
    const first = groups[0]?.start ?? 0;
    expect(groups).toEqual([
      { start: first, end: first + 4, name: 'Set up', kind: 'group', depth: 0 },
      { start: first + 2, end: first + 3, name: 'Deeper', kind: 'group', depth: 1 },
    ]);
    expect(problems.map(({ severity, text }) => [severity, text.slice(0, 12)]).sort()).toEqual([
      ['error', 'main.c:9:1: '],
      ['error', 'make: *** [M'],
      ['warning', 'main.c:4:7: '],
    ]);
    const { lines: all } = await lines(id, {});
    for (const { line, text } of problems) expect(all.find(({ number }) => number === line)?.text).toBe(text);
  });

  it('come from what a real make and a real compiler say', async () => {
    const id = await ran(
      `mkdir -p sub && printf 'all:\\n\\t$(MAKE) -C sub\\n' >Makefile && printf 'all: a.o\\na.o:\\n\\tgcc -Wall -c a.c\\n' >sub/Makefile
       printf 'int f(void) { int unused; return undeclared; }\\n' >sub/a.c; make --trace`,
    );
    const { job, groups, problems } = await marked(id);
    expect(job.status).toBe('failed');
    expect(problems.some(({ severity, text }) => severity === 'warning' && text.includes('unused'))).toBe(
      true,
    );
    expect(problems.some(({ text }) => /a\.c:1:\d+: error: .*undeclared/.test(text))).toBe(true);
    expect(problems.some(({ text }) => text.includes('make[1]: *** '))).toBe(true);
    expect(groups.map(({ kind }) => kind)).toContain('directory');
    expect(groups.filter(({ kind }) => kind === 'recipe').map(({ name }) => name)).toContain('a.o');
  });

  it('are there while the job still runs', async () => {
    const { id } = await cockpit.run(`echo 'a.c:1: error: x'; while [ ! -e end ]; do sleep 0.02; done`);
    await until('the error', async () => (await cockpit.jobs.get(id)).errors === 1);
    expect((await cockpit.jobs.marks(id)).problems).toMatchObject([{ line: 3, severity: 'error' }]);
    await cockpit.run('touch end');
    await cockpit.when(id);
    expect((await marked(id)).job.errors).toBe(1);
  });
});
