/** The program of a noisy job; see `noiseCommand` for its one argument. */
import { statSync, writeSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { noise } from './noise.ts';
import type { NoiseOptions } from './noise-command.ts';

const pauseMs = 15;

const { seed, bytes, bytesPerSecond, permits, exitCode } = JSON.parse(process.argv[2] ?? '') as NoiseOptions;
const began = performance.now();

/** Bytes that may be out by now. */
function allowance(): number {
  const rounds = permits ? statSync(permits.file).size / permits.rounds : 1;
  const seconds = (performance.now() - began) / 1000;
  return Math.min(rounds * bytes, bytesPerSecond === undefined ? bytes : seconds * bytesPerSecond);
}

let written = 0;
for (const piece of noise(seed, bytes)) {
  while (written >= allowance()) await delay(pauseMs);
  // Spread over its round, so that a fault of the round hits in the middle of it.
  if (permits && allowance() < bytes) await delay(pauseMs);
  for (let at = 0; at < piece.bytes.length;)
    at += writeSync(piece.stream === 'stdout' ? 1 : 2, piece.bytes, at);
  written += piece.bytes.length;
}
process.exitCode = exitCode;
