import { defineConfig } from 'rolldown';

/** One file with everything in it: the package has no dependencies, so installing it needs no registry. */
export default defineConfig({
  input: 'src/main.ts',
  platform: 'node',
  // What the `ws` of socket.io-client would use where it is installed; it does without.
  external: ['bufferutil', 'utf-8-validate'],
  transform: { target: 'node22.12' },
  output: {
    file: 'build/vmo.js',
    format: 'esm',
    codeSplitting: false,
  },
});
