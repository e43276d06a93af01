import type { RunPlan } from '@vmo/contract';

/** One word of a shell, whatever is in it. */
const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

export interface PlanOptions {
  maxArtifactBytes: number;
}

/** The plan as our runner takes it: calls of its functions, so that the runner itself can stay as it is. */
export function renderPlan(plan: RunPlan, { maxArtifactBytes }: PlanOptions): Buffer {
  const variables = Object.entries(plan.env).map(([name, value]) => `export ${name}=${quote(value)}`);
  const lines = [
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
