import path from 'node:path';
import { ESLint } from 'eslint';
import { describe, expect, it } from 'vitest';

const root = path.resolve(import.meta.dirname, '..');
const wanted = /^vmo\/|^@typescript-eslint\/(no-explicit-any|no-non-null-assertion|ban-ts-comment)$/;

// The project's own configuration with all of its file patterns; only the typed rules, which need files, rest.
const eslint = new ESLint({
  cwd: root,
  overrideConfig: { languageOptions: { parserOptions: { projectService: false } } },
  ruleFilter: ({ ruleId }) => wanted.test(ruleId),
});

async function broken(file: string, code: string): Promise<string[]> {
  const [result] = await eslint.lintText(code, { filePath: path.join(root, file) });
  return (result?.messages ?? []).map((message) => message.ruleId ?? message.message);
}

interface Example {
  rule: string;
  refused: [file: string, code: string][];
  allowed: [file: string, code: string][];
}

const jobs = 'apps/server/src/jobs/new.ts';
const execution = 'packages/execution/src/new.ts';

const examples: Example[] = [
  {
    rule: 'vmo/contract-imports-zod-only',
    refused: [
      ['packages/contract/src/new.ts', `import { sql } from 'kysely';`],
      ['packages/contract/src/new.ts', `import { join } from 'node:path';`],
      ['packages/contract/src/new.ts', `export * from '../../client/src/rest.ts';`],
    ],
    allowed: [['packages/contract/src/new.ts', `import { z } from 'zod';\nimport { Job } from './jobs.ts';`]],
  },
  {
    rule: 'vmo/domain-knows-no-transport',
    refused: [
      [jobs, `import type { Request } from 'express';`],
      [jobs, `import { Server } from 'socket.io';`],
      [jobs, `import { problem } from '../http/problem.ts';`],
      ['apps/server/src/hosts/new.ts', `export { rooms } from '../realtime/index.ts';`],
    ],
    allowed: [
      ['apps/server/src/http/new.ts', `import express from 'express';`],
      ['apps/server/src/realtime/new.ts', `import { Server } from 'socket.io';`],
      [jobs, `import { CodedError } from '@vmo/contract';`],
    ],
  },
  {
    rule: 'vmo/domain-order',
    refused: [
      ['apps/server/src/auth/new.ts', `import { jobs } from '../jobs/index.ts';`],
      ['apps/server/src/workspaces/new.ts', `import { hosts } from '../hosts/index.ts';`],
      [jobs, `import { find } from '../hosts/repository.ts';`],
      [jobs, `import { createServer } from '../server.ts';`],
      [jobs, `import type { Vms } from '../vms/index.ts';`],
      ['apps/server/src/vms/new.ts', `import { findJob } from '../jobs/repository.ts';`],
      ['apps/server/src/http/new.ts', `import { find } from '../jobs/repository.ts';`],
      ['apps/server/src/kernel/new.ts', `import type { Session } from '../auth/index.ts';`],
      ['apps/server/src/kernel/new.ts', `import type { Database } from '@vmo/db';`],
    ],
    allowed: [
      [jobs, `import { hosts } from '../hosts/index.ts';\nimport { audit } from '../auth/index.ts';`],
      ['apps/server/src/vms/new.ts', `import type { Jobs } from '../jobs/index.ts';`],
      ['apps/server/src/requests/new.ts', `import type { Jobs } from '../jobs/index.ts';`],
      ['apps/server/src/http/new.ts', `import type { Jobs } from '../jobs/index.ts';`],
      ['apps/server/src/kernel/new.ts', `import type { Job } from '@vmo/contract';`],
    ],
  },
  {
    rule: 'vmo/sql-in-repository',
    refused: [
      [jobs, `import { sql } from 'kysely';`],
      [jobs, `import pg from 'pg';`],
      [jobs, `export const all = (db) => db.selectFrom('jobs').selectAll().execute();`],
      ['apps/server/src/http/new.ts', `export const end = (trx) => trx.deleteFrom('sessions').execute();`],
    ],
    allowed: [
      [jobs, `import type { Kysely } from 'kysely';\nimport { type Transaction } from 'kysely';`],
      ['apps/server/src/jobs/repository.ts', `import { sql } from 'kysely';`],
      [
        'apps/server/src/jobs/log-repository.ts',
        `export const all = (db) => db.selectFrom('jobs').execute();`,
      ],
      ['db/src/new.ts', `import pg from 'pg';\nimport { sql } from 'kysely';`],
    ],
  },
  {
    rule: 'vmo/composition',
    refused: [
      [jobs, `import { createHosts } from '../hosts/index.ts';`],
      [jobs, `import { createAgent } from '@vmo/agent';`],
      ['apps/server/src/http/new.ts', `import { createJobs } from '../jobs/index.ts';`],
      [jobs, `@injectable()\nexport class JobService {}`],
      [jobs, `export class JobService extends BaseService {}`],
      [jobs, `export abstract class Service {}`],
    ],
    allowed: [
      ['apps/server/src/server.ts', `import { createJobs } from './jobs/index.ts';`],
      [jobs, `import { createLog } from './log.ts';\nimport type { Hosts } from '../hosts/index.ts';`],
      [jobs, `export class Slow extends Error {}`],
    ],
  },
  {
    rule: 'vmo/capability-knows-no-server',
    refused: [
      [execution, `import { Kysely } from 'kysely';`],
      [execution, `import type { Database } from '@vmo/db';`],
      [execution, `import http from 'node:http';`],
      ['packages/hypervisor/src/new.ts', `import { io } from 'socket.io-client';`],
      [execution, `import { audit } from '../../../apps/server/src/auth/index.ts';`],
    ],
    allowed: [
      [execution, `import { spawn } from 'node:child_process';\nimport type { JobId } from '@vmo/contract';`],
      ['packages/hypervisor/src/new.ts', `import net from 'node:net';`],
    ],
  },
  {
    rule: 'vmo/environment-at-the-door',
    refused: [
      [jobs, `export const home = process.env.HOME;`],
      [execution, `export const port = process['env'].PORT;`],
      [jobs, `const { env } = process;\nexport { env };`],
      ['apps/agent/src/new.ts', `process.exit(1);`],
      ['packages/client/src/new.ts', `process.exitCode = 1;`],
      ['apps/cli/src/new.ts', `process.exitCode = 1;`],
    ],
    allowed: [
      ['apps/server/src/main.ts', `process.exit(Number(process.env.CODE));`],
      ['apps/server/src/config.ts', `export const port = process.env.VMO_PORT;`],
      ['apps/cli/bin/vmo.js', `process.exitCode = 1;`],
      ['packages/execution/src/terminal-host-main.ts', `process.exit(0);`],
      ['apps/server/src/jobs/new.test.ts', `export const home = process.env.HOME;`],
      [jobs, `export const pid = process.pid;`],
    ],
  },
  {
    rule: 'vmo/through-the-client',
    refused: [
      ['apps/web/src/lib/new.ts', `import { io } from 'socket.io-client';`],
      ['apps/web/src/lib/new.ts', `await fetch('/api/v1/jobs');`],
      ['apps/web/src/lib/New.svelte', `<script lang="ts">\n  void window.fetch('/api');\n</script>`],
      ['apps/web/src/lib/new.svelte.ts', `export const socket = new WebSocket('/jobs');`],
      ['apps/cli/src/new.ts', `import https from 'node:https';`],
      ['apps/agent/src/new.ts', `import { append } from '../../server/src/jobs/index.ts';`],
    ],
    allowed: [
      ['apps/web/src/lib/new.ts', `import { createClient } from '@vmo/client';`],
      ['packages/client/src/new.ts', `import { io } from 'socket.io-client';\nawait fetch('/api/v1/jobs');`],
    ],
  },
  {
    rule: 'vmo/hints-carry-ids',
    refused: [
      ['apps/server/src/jobs/repository.ts', 'export const q = sql`select pg_notify(${channel}, ${chunk})`;'],
      ['db/src/new.ts', 'export const q = `notify jobs, ${job.command}`;'],
    ],
    allowed: [
      [
        'apps/server/src/jobs/repository.ts',
        'export const q = sql`select pg_notify(${channel}, ${job.id})`;',
      ],
      [
        'apps/server/src/jobs/repository.ts',
        'export const q = sql`select pg_notify(${channel}, ${String(lastSeq)})`;',
      ],
      [jobs, 'export const words = `please tell ${name}`;'],
    ],
  },
  {
    rule: 'vmo/no-shell',
    refused: [
      [execution, `import { exec } from 'node:child_process';`],
      [jobs, `import { execSync } from 'child_process';`],
      ['scripts/new.ts', `spawn('make', ['all'], { shell: true });`],
      [jobs, `spawn('make', [], { shell });`],
      ['apps/server/src/workspaces/new.ts', `execFile('/bin/sh', ['-c', command]);`],
      [jobs, `childProcess.exec(command);`],
    ],
    allowed: [
      [execution, `spawn('/bin/sh', [wrapper, directory]);`],
      [
        'apps/server/src/workspaces/new.ts',
        `execFile('make', ['-C', directory, '--', target], { shell: false });`,
      ],
      [jobs, `/x/.exec(command);`],
    ],
  },
  {
    rule: '@typescript-eslint/no-explicit-any',
    refused: [[jobs, `export const x: any = 1;`]],
    allowed: [[jobs, `export const x: unknown = 1;`]],
  },
  {
    rule: '@typescript-eslint/no-non-null-assertion',
    refused: [[jobs, `export const first = (all: string[]) => all[0]!;`]],
    allowed: [[jobs, `export const first = (all: string[]) => all[0] ?? '';`]],
  },
  {
    rule: '@typescript-eslint/ban-ts-comment',
    refused: [
      [jobs, `// @ts-ignore\nexport const x = 1;`],
      [jobs, `// @ts-nocheck\nexport const x = 1;`],
    ],
    allowed: [[jobs, `// @ts-expect-error the types of this package lack it\nexport const x = 1;`]],
  },
];

describe.each(examples)('$rule', ({ rule, refused, allowed }) => {
  it.each(refused)('refuses in %s: %s', async (file, code) => {
    expect(await broken(file, code)).toContain(rule);
  });

  it.each(allowed)('allows in %s: %s', async (file, code) => {
    expect(await broken(file, code)).not.toContain(rule);
  });
});

describe('the configuration', () => {
  it('has every architecture rule switched on as an error, in every part of the project', async () => {
    const rules = examples.map((example) => example.rule);
    for (const file of [jobs, execution, 'apps/web/src/lib/New.svelte', 'packages/contract/src/new.ts']) {
      const config: unknown = await eslint.calculateConfigForFile(path.join(root, file));
      for (const rule of rules) expect(config).toHaveProperty(['rules', rule, 0], 2);
    }
  });

  it('says in each message what to do instead', async () => {
    for (const { refused } of examples.filter(({ rule }) => rule.startsWith('vmo/'))) {
      const [file = '', code = ''] = refused[0] ?? [];
      const [result] = await eslint.lintText(code, { filePath: path.join(root, file) });
      for (const message of result?.messages ?? []) expect(message.message.length).toBeGreaterThan(60);
    }
  });
});
