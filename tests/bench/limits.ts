import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Page } from '@playwright/test';
import { connect } from '@vmo/db';
import type { TestServer } from '@vmo/testkit';
import { sql } from 'kysely';
import type { Limit } from './figures.ts';

const openDatabase = (server: TestServer) =>
  connect(
    { socketDirectory: join(server.dataDirectory, 'postgres'), user: 'vmo', database: 'postgres' },
    { poolSize: 1 },
  );

/** Runs `work` with one connection to the server's own Postgres. */
export async function withDatabase<T>(
  server: TestServer,
  work: (db: ReturnType<typeof openDatabase>) => Promise<T>,
): Promise<T> {
  const db = openDatabase(server);
  try {
    return await work(db);
  } finally {
    await db.destroy();
  }
}

/** MB/s of one connection that inserts these chunks, one statement each, with Postgres's default compression. */
export async function insertSpeed(server: TestServer, chunks: readonly Buffer[]): Promise<number> {
  return withDatabase(server, async (db) => {
    await sql`create table bench_limit (id bigserial primary key, chunk bytea not null)`.execute(db);
    const begin = performance.now();
    for (const chunk of chunks) await sql`insert into bench_limit (chunk) values (${chunk})`.execute(db);
    const seconds = (performance.now() - begin) / 1000;
    await sql`drop table bench_limit`.execute(db);
    return chunks.reduce((sum, chunk) => sum + chunk.length, 0) / 1e6 / seconds;
  });
}

/** Milliseconds of one durable commit: a single row, on the disk when it returns. */
export async function commitTimes(server: TestServer): Promise<Limit> {
  const values = await withDatabase(server, async (db) => {
    await sql`create table bench_commit (id bigserial primary key)`.execute(db);
    const times: number[] = [];
    for (let count = 0; count < 100; count++) {
      const begin = performance.now();
      await sql`insert into bench_commit default values`.execute(db);
      times.push(performance.now() - begin);
    }
    await sql`drop table bench_commit`.execute(db);
    return times;
  });
  return { name: 'commit of one row', values };
}

export async function socketRoundTrips(server: TestServer): Promise<Limit> {
  const connection = server.connect();
  const values: number[] = [];
  try {
    await connection.measureLatency();
    for (let count = 0; count < 200; count++) values.push(await connection.measureLatency());
  } finally {
    connection.close();
  }
  return { name: 'Socket.IO round trip', values };
}

/** How long Chromium lets a page wait for its next frame, asked at moments that have nothing to do with frames. */
export async function frameWaits(page: Page): Promise<Limit> {
  const values = await page.evaluate(async () => {
    const waits: number[] = [];
    for (let count = 0; count < 60; count++) {
      await new Promise((resolve) => setTimeout(resolve, (count * 7) % 23));
      const begin = performance.now();
      await new Promise((resolve) => requestAnimationFrame(resolve));
      waits.push(performance.now() - begin);
    }
    return waits;
  });
  return { name: 'wait for a frame in Chromium', values };
}

/** Milliseconds that a program takes; its output is thrown away. */
export async function programTime(file: string, args: readonly string[]): Promise<number> {
  const begin = performance.now();
  const child = spawn(file, args, { stdio: 'ignore', env: { PATH: process.env.PATH, LC_ALL: 'C' } });
  await once(child, 'exit');
  return performance.now() - begin;
}
