#!/usr/bin/env node
import { existsSync } from 'node:fs';

// A checkout runs its sources; the installed package has the one file that is built of them.
const sources = new URL('../src/main.ts', import.meta.url);
const isCheckout = existsSync(sources);
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);

if (isCheckout ? major < 24 : major < 22 || (major === 22 && minor < 12)) {
  const needed = isCheckout ? '24' : '22.12';
  process.stderr.write(
    `vmo: this is Node ${process.versions.node}, and Node ${needed} or newer is needed: https://nodejs.org\n`,
  );
  process.exitCode = 1;
} else {
  await import(isCheckout ? sources : new URL('../build/vmo.js', import.meta.url));
}
