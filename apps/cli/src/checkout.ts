import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { CliError, exitCodes } from './exit-codes.ts';
import type { Environment, World } from './world.ts';

const Manifest = z.object({ name: z.string(), version: z.string().optional() });

export function readManifest(directory: string): z.infer<typeof Manifest> | null {
  try {
    return Manifest.parse(JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')));
  } catch {
    return null;
  }
}

/** The checkout of VM-Orchestrator that a directory is in; null: it is in none. */
function checkoutAbove(directory: string): string | null {
  for (let at = directory; ; at = dirname(at)) {
    if (readManifest(at)?.name === 'vm-orchestrator' && existsSync(join(at, 'scripts', 'start.sh')))
      return at;
    if (dirname(at) === at) return null;
  }
}

/** The one that we are in, else the one that this program belongs to. */
export function findCheckout({ cwd }: Pick<World, 'cwd'>): string | null {
  return checkoutAbove(cwd) ?? checkoutAbove(import.meta.dirname);
}

/** What each command starts of a checkout. */
const scripts = { up: 'start.sh', api: 'start.sh', agents: 'agent.sh' } as const;

/**
 * Starts a program of a checkout in the foreground and ends with its code. Signals that end us end it.
 * @throws CliError where there is no checkout
 */
export async function startCheckout(
  world: World,
  what: keyof typeof scripts,
  env: Environment,
): Promise<number> {
  const checkout = findCheckout(world);
  if (checkout === null) {
    throw new CliError(
      `vmo ${what} starts ${what === 'agents' ? 'an agent' : 'the server'} out of a checkout of VM-Orchestrator, and this is none`,
      exitCodes.usage,
      {
        hints: [
          'Go to the directory that you have cloned it to, and type it there (or npm start).',
          'A server that runs elsewhere needs no start from here: set VMO_URL and VMO_TOKEN.',
        ],
      },
    );
  }
  const child = spawn(join(checkout, 'scripts', scripts[what]), [], {
    cwd: world.cwd,
    stdio: 'inherit',
    env: { ...world.env, ...env, INIT_CWD: world.cwd, VMO_EXIT_WITH_PARENT: '1' },
  });
  // A terminal sends Ctrl-C to both of us: it is ended by that, and we by its end.
  const stop = world.onSignal((signal) => {
    if (signal !== 'SIGINT' || !world.stdin.isTTY) child.kill(signal);
  });
  try {
    const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
    return code ?? (signal === 'SIGTERM' ? exitCodes.terminated : exitCodes.interrupted);
  } finally {
    stop();
  }
}
