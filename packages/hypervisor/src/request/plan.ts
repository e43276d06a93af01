import { randomBytes } from 'node:crypto';
import type { RunPlan } from '@vmo/contract';
import { reseedProgram } from './reseed.ts';

const seedBytes = 64;

/** One word of a shell, whatever is in it. */
const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

export interface PlanOptions {
  maxArtifactBytes: number;
  /** The guest goes on from what was kept: its machine id is the machine's, without dashes. */
  renew: { machineId: string; mac: string } | null;
}

/** The plan as our runner takes it: calls of its functions, so that the runner itself can stay as it is. */
export function renderPlan(plan: RunPlan, { maxArtifactBytes, renew }: PlanOptions): Buffer {
  const variables = Object.entries(plan.env).map(([name, value]) => `export ${name}=${quote(value)}`);
  const lines = [
    ...(renew ? [renewal(renew)] : []),
    `_stop=${plan.stopOnFailure ? '1' : ''}`,
    // One byte more: what is that long, is too long.
    `_left=${maxArtifactBytes + 1}`,
    `environment ${quote(variables.join('\n'))}`,
    ...plan.files.map(({ mode, path, base64 }) => `put_file ${mode} ${quote(path)} ${quote(base64)}`),
    ...plan.commands.map(({ run }, index) => `command_text ${index} ${quote(run)}`),
    plan.commands.map((_, index) => `run_command ${index}`).join(' &&\n'),
    ...plan.artifacts.map((path, index) => `fetch ${index} ${quote(path)}`),
  ];
  return Buffer.from(lines.join('\n') + '\n');
}

function renewal({ machineId, mac }: NonNullable<PlanOptions['renew']>): string {
  const words = [machineId, mac, ...[randomBytes(seedBytes), reseedProgram()].map(octal)].map(quote);
  return `renew ${(Date.now() / 1000).toFixed(3)} ${words.join(' ')}`;
}

/** As a shell's own printf takes it: each program that need not be started saves a guest without KVM some 30 ms. */
const octal = (bytes: Buffer): string =>
  Array.from(bytes, (byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('');
