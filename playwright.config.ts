import { existsSync } from 'node:fs';
import { defineConfig, devices } from '@playwright/test';

const browser = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) =>
  existsSync(path),
);
const timed = '**/long-log.spec.ts';
const isRoot = process.getuid?.() === 0;

export default defineConfig({
  testDir: 'tests/e2e',
  outputDir: 'test-results',
  // A story takes about one processor: its browser, its server and its guests wait for each other.
  workers: 2,
  projects: [
    { name: 'stories', testIgnore: timed },
    // They measure how long a person waits: scripts/test.ts runs them when the others are over.
    { name: 'timed', testMatch: timed, workers: 1 },
  ],
  // A test that passes only the second time has failed.
  retries: 0,
  forbidOnly: true,
  timeout: 60_000,
  expect: { timeout: 10_000 },
  // scripts/test.ts reads the report.
  reporter: [['list'], ['json', { outputFile: '.cache/test/e2e.json' }]],
  use: {
    // What cannot be clicked by then never can: the story ends, and says what it waited for.
    actionTimeout: 30_000,
    ...devices['Desktop Chrome'],
    // `npm run test:e2e -- --trace on` records one; for every story it would double the time that all of them take.
    trace: 'off',
    screenshot: 'only-on-failure',
    launchOptions: {
      ...(browser === undefined ? {} : { executablePath: browser }),
      args: [
        ...(isRoot ? ['--no-sandbox'] : []),
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
        '--no-first-run',
        '--disable-gpu',
      ],
    },
  },
});
