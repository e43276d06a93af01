/**
 * The job of a measurement: writes lines that begin with `@@` and the moment of their write(2), so that whoever sees
 * one knows how long it took.
 *
 *   node writer.ts <count> <every ms> <bytes> <begin at> [file for the SHA-256 of all that was written]
 */
import { createHash } from 'node:crypto';
import { writeFileSync, writeSync } from 'node:fs';

const [count = 0, everyMs = 0, bytes = 0, at = 0] = process.argv.slice(2, 6).map(Number);
const digest = process.argv[6] ?? '';
const lineBytes = 100;
const hash = createHash('sha256');
let written = 0;

function lines(): string {
  const stamp = `@@${(performance.timeOrigin + performance.now()).toFixed(3)} `;
  let text = '';
  for (let left = bytes; left > 0; left -= lineBytes)
    text += `${stamp.padEnd(Math.min(lineBytes, left) - 1, '.')}\n`;
  return text;
}

function write(): void {
  const data = Buffer.from(lines());
  for (let done = 0; done < data.length;) done += writeSync(1, data, done);
  hash.update(data);
  if (++written < count) return;
  clearInterval(timer);
  if (digest !== '') writeFileSync(digest, hash.digest('hex'));
}

let timer: NodeJS.Timeout | undefined;
setTimeout(
  () => {
    timer = setInterval(write, everyMs);
  },
  Math.max(0, at - Date.now()),
);
