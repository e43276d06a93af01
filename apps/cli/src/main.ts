import { homedir } from 'node:os';
import { exitCodes } from './exit-codes.ts';
import { describeFailure } from './failure.ts';
import { findServer } from './find-server.ts';
import { createPaint, wantsColor } from './output/paint.ts';
import { createProgram } from './program.ts';
import type { World } from './world.ts';

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

const world: World = {
  env: process.env,
  cwd: process.cwd(),
  home: homedir(),
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  onSignal(listener) {
    for (const signal of signals) process.on(signal, listener);
    return () => {
      for (const signal of signals) process.off(signal, listener);
    };
  },
};

// Whoever read us has what they wanted, as `head`: no words, and nothing more to be done.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(exitCodes.brokenPipe);
    throw error;
  });
}

let exitCode: number = exitCodes.ok;
const program = createProgram(world, (code) => {
  exitCode = code;
});

try {
  await program.parseAsync();
} catch (error) {
  const urlOption: unknown = program.opts().url;
  const failure = describeFailure(error, () =>
    findServer(world, typeof urlOption === 'string' ? urlOption : undefined),
  );
  exitCode = failure.code;
  const paint = createPaint(wantsColor(process.stderr, process.env, program.opts().color !== false));
  const [first, ...others] = failure.lines;
  const lines = first === undefined ? [] : [paint.bad(`vmo: ${first}`), ...others];
  process.stderr.write(lines.map((line) => `${line}\n`).join(''));
}
// Not process.exit: what has been written must first arrive where a pipe is full.
process.exitCode = exitCode;
