import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { RunPlan, type ArtifactPiece, type MachineSpec, type RunProgress } from '@vmo/contract';
import {
  createLocalStreamStrategy,
  createProcessTable,
  type Run,
  type RunEnd,
  type RunSpec,
} from '@vmo/execution';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openWorkshop, type Workshop } from '../qemu/testing.ts';
import { createVmRunStrategy } from '../run-strategy.ts';

/* Real guests, without KVM, beside the other tests. */
const patience = { timeout: 120_000 };

let workshop: Workshop;
let boot: Pick<MachineSpec, 'boot'>;
beforeAll(async () => {
  workshop = await openWorkshop();
  boot = await workshop.guest();
});
afterAll(() => workshop[Symbol.asyncDispose]());

const local = createLocalStreamStrategy({ table: createProcessTable(), cgroups: null });
const newStrategy = () => createVmRunStrategy({ driver: workshop.newDriver(), local });
const request = {
  ...{ overlays: [], readySeconds: 60, channel: null, keepOnFailure: false, maxArtifactBytes: 1024 * 1024 },
};

interface Asked {
  spec: RunSpec;
  run: Run;
  end: Promise<RunEnd>;
  progress: RunProgress[];
  artifacts: Map<number, Buffer>;
  notices: string[];
  read(name: string): Promise<Buffer>;
}

function prepare(plan: Partial<RunPlan>, change: Partial<MachineSpec> = {}) {
  const machine = workshop.spec({ ...boot, request, ...change });
  const whole = RunPlan.parse({
    ...{ commands: [], stopOnFailure: true, env: {}, files: [], artifacts: [] },
    ...plan,
  });
  const progress: RunProgress[] = [];
  const artifacts = new Map<number, Buffer>();
  const notices: string[] = [];
  const spec: RunSpec = {
    ...workshop.runSpec(machine),
    notice: (line) => notices.push(line),
    request: {
      plan: async () => whole,
      progress: async (told) => {
        progress.push(told);
      },
      artifact: async ({ index, offset, bytes }: ArtifactPiece) => {
        const known = artifacts.get(index) ?? Buffer.alloc(0);
        artifacts.set(index, Buffer.concat([known.subarray(0, offset), bytes]));
      },
    },
  };
  return { spec, progress, artifacts, notices, read: (name: string) => readFile(join(spec.directory, name)) };
}

async function ask(plan: Partial<RunPlan>, change: Partial<MachineSpec> = {}): Promise<Asked> {
  const prepared = prepare(plan, change);
  const run = await newStrategy().start(prepared.spec);
  return { ...prepared, run, end: run.ended };
}

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
const leftInStorage = () => readdir(join(workshop.storage.root, 'vms'));

describe('a simulation request', () => {
  it('keeps what each command wrote, to the byte, and how it ended', patience, async () => {
    const asked = await ask({
      commands: [
        { run: 'echo out; echo err >/dev/stderr; printf "\\000\\377"; exit 3' },
        { run: 'seq 1 200000 | tee /dev/stderr | sha256sum; exit 0' },
        { run: 'kill -KILL $$' },
        { run: 'echo "$WORDS"; cat /etc/given; sleep 30 & echo $(( 6 * 7 ))' },
      ],
      stopOnFailure: false,
      env: { WORDS: `it's "quoted"\n$HOME \\ \`x\` two` },
      files: [{ path: '/etc/given', mode: '600', base64: Buffer.from("it's given\n").toString('base64') }],
    });
    expect(await asked.end).toMatchObject({ kind: 'exited', exitCode: 3, signal: null });
    const stdout = await asked.read('stdout');
    const stderr = await asked.read('stderr');
    const numbers = Buffer.from(Array.from({ length: 200_000 }, (_, index) => `${index + 1}\n`).join(''));
    expect(stderr.equals(Buffer.concat([Buffer.from('err\n'), numbers]))).toBe(true);
    const words = `it's "quoted"\n$HOME \\ \`x\` two\nit's given\n42\n`;
    const expected = [
      Buffer.from('out\n\0'),
      Buffer.from([0xff]),
      Buffer.from(`${sha256(numbers)}  -\n${words}`),
    ];
    expect(stdout.toString('latin1')).toBe(Buffer.concat(expected).toString('latin1'));
    const last = asked.progress.at(-1);
    expect(last).toMatchObject({ channel: 'runner', kept: false });
    expect(last?.commands).toMatchObject([
      { status: 'failed', exitCode: 3, stdoutBytes: 6, stderrBytes: 4 },
      { status: 'done', exitCode: 0, stderrBytes: numbers.length },
      { status: 'failed', exitCode: 137, stdoutBytes: 0 },
      { status: 'done', exitCode: 0, stdoutBytes: 44 },
    ]);
    expect(await leftInStorage()).toEqual([]);
  });
});
