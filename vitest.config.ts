import { defineConfig } from 'vitest/config';

const notTests = ['**/node_modules/**', '**/build/**', '**/.svelte-kit/**', 'tests/e2e/**'];

const faults = {
  environment: 'node' as const,
  include: ['tests/faults/*.test.ts'],
  testTimeout: process.env.VMO_TEST_FAULTS === 'long' ? 86_400_000 : 300_000,
};
/** Of these the time goes by in leases and timeouts, and no figure is asked of them but those. */
const waiting = ['agents', 'damage', 'disk-full', 'postgres-away', 'processes', 'storage-full'].map(
  (name) => `tests/faults/${name}.test.ts`,
);

export default defineConfig({
  test: {
    // A forgotten `.only` must not make the suite small and green.
    allowOnly: false,
    // Real Postgres, sshd and make on a busy machine; a test that hangs still ends.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Most tests wait: for processes, guests, the disk. A test takes about 0.6 of a processor, and there are two.
    maxWorkers: 3,
    projects: [
      {
        test: {
          name: 'node',
          environment: 'node',
          include: ['{apps,packages}/*/src/**/*.test.ts', 'db/src/**/*.test.ts', 'tests/**/*.test.ts'],
          exclude: [...notTests, 'apps/web/**', 'tests/faults/**'],
        },
      },
      {
        test: {
          ...faults,
          name: 'faults',
          exclude: waiting,
          // Each breaks a machine of its own and measures what happens: beside another one, it would measure that.
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          ...faults,
          name: 'faults-that-wait',
          include: waiting,
          maxWorkers: 2,
          sequence: { groupOrder: 2 },
        },
      },
      {
        extends: './apps/web/vite.config.ts',
        root: './apps/web',
        test: { name: 'web', environment: 'node', include: ['src/**/*.test.ts'], exclude: notTests },
      },
    ],
    coverage: {
      provider: 'v8',
      include: ['packages/execution/src/**/*.ts'],
      // The two programs are measured nowhere: they run as processes of their own, where their tests see them work.
      exclude: ['**/*.test.ts', '**/testing.ts', '**/terminal/{host,attach}-main.ts'],
      reporter: ['text', 'json-summary'],
      reportOnFailure: true,
      thresholds: { 'packages/execution/src/**': { lines: 95, branches: 95 } },
    },
  },
});
