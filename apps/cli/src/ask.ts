import { createInterface } from 'node:readline';
import { CliError, exitCodes } from './exit-codes.ts';
import { isAttended, type World } from './world.ts';

/** Asks on the terminal. @returns null when Ctrl-C or Ctrl-D was the answer */
export function ask({ stdin, stderr }: World, question: string): Promise<string | null> {
  return new Promise((resolve) => {
    const lines = createInterface({ input: stdin, output: stderr, terminal: true });
    let answer: string | null = null;
    lines.on('SIGINT', () => lines.close());
    lines.on('close', () => {
      if (answer === null) stderr.write('\n');
      resolve(answer);
    });
    lines.question(question, (text) => {
      answer = text.trim().toLowerCase();
      lines.close();
    });
  });
}

/**
 * Lets a person confirm what cannot be taken back.
 * @throws CliError usage where nobody can be asked and `--yes` was not given; interrupted when the answer is no
 */
export async function confirm(world: World, question: string, isSure: boolean): Promise<void> {
  if (isSure) return;
  if (!isAttended(world)) {
    throw new CliError(`${question} There is nobody to ask here: add --yes`, exitCodes.usage);
  }
  const answer = await ask(world, `${question} [y/N] `);
  if (answer === 'y' || answer === 'yes') return;
  throw new CliError('nothing was done', exitCodes.interrupted);
}
