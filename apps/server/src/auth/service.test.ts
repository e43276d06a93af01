import { testDatabase, type TestDatabase } from '@vmo/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createBus } from '../kernel/bus.ts';
import { createLoginCodes } from './login-codes.ts';
import { createAuth, type Auth } from './service.ts';

const token = 'correct-horse-battery';
const noCookie = { cookie: null };
const noBearer = { bearer: null };

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterAll(() => database[Symbol.asyncDispose]());

function create(): { auth: Auth; ended: string[] } {
  const bus = createBus((error) => {
    throw error;
  });
  const ended: string[] = [];
  bus.on('session:ended', ({ sessionId }) => ended.push(sessionId));
  return { auth: createAuth({ db: database.db, bus, token, findAgent: () => Promise.resolve(null) }), ended };
}

describe('a credential', () => {
  it('is the bearer token, or nothing', async () => {
    const { auth } = create();
    expect(await auth.identify({ bearer: token, ...noCookie }, 'a')).toMatchObject({
      actor: { name: 'owner', sessionId: null },
    });
    expect(await auth.identify({ ...noBearer, ...noCookie }, 'a')).toBeNull();
    await expect(auth.identify({ bearer: `${token}x`, ...noCookie }, 'a')).rejects.toMatchObject({
      code: 'UNAUTHENTICATED',
    });
  });

  it('is not the session cookie when a wrong bearer token stands beside it', async () => {
    const { auth } = create();
    const { secret } = await auth.logIn({ token }, 'a');
    await expect(auth.identify({ bearer: 'wrong', cookie: secret }, 'a')).rejects.toMatchObject({
      code: 'UNAUTHENTICATED',
    });
  });

  it('of a session works until the session is ended, and its end is told', async () => {
    const { auth, ended } = create();
    const { secret, principal } = await auth.logIn({ token }, 'a');
    const sessionId = principal.actor.sessionId ?? '';
    expect((await auth.identify({ ...noBearer, cookie: secret }, 'a'))?.actor.sessionId).toBe(sessionId);
    expect(await auth.filterLive([sessionId])).toEqual(new Set([sessionId]));
    await auth.logOut(principal.actor);
    await expect(auth.identify({ ...noBearer, cookie: secret }, 'a')).rejects.toMatchObject({
      code: 'UNAUTHENTICATED',
    });
    expect(ended).toEqual([sessionId]);
    expect(await auth.filterLive([sessionId])).toEqual(new Set());
  });

  it('of a session ends with its time', async () => {
    const { auth } = create();
    const { secret, principal } = await auth.logIn({ token }, 'a');
    await database.db
      .updateTable('sessions')
      .set({ expires_at: new Date(Date.now() - 1000) })
      .where('id', '=', principal.actor.sessionId ?? '')
      .execute();
    await expect(auth.identify({ ...noBearer, cookie: secret }, 'a')).rejects.toMatchObject({
      code: 'UNAUTHENTICATED',
    });
  });

  it('is stored as a hash only', async () => {
    const { auth } = create();
    const { secret } = await auth.logIn({ token }, 'a');
    const rows = await database.db.selectFrom('sessions').select('token_hash').execute();
    expect(
      rows.every(
        ({ token_hash }) => token_hash.length === 32 && !token_hash.equals(Buffer.from(secret, 'base64url')),
      ),
    ).toBe(true);
  });
});

describe('wrong bearer tokens', () => {
  it('are limited per address, and keep nobody from logging in', async () => {
    const { auth } = create();
    const guess = () => auth.identify({ bearer: 'wrong', ...noCookie }, 'bad');
    for (let n = 0; n < 10; n++) await expect(guess()).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
    await expect(guess()).rejects.toMatchObject({ code: 'TOO_MANY_ATTEMPTS' });
    expect(await auth.logIn({ token }, 'bad')).toBeDefined();
  });
});

describe('a login', () => {
  it('by code works once, and leaves a line in the audit log', async () => {
    const { auth } = create();
    const code = auth.issueCode();
    const { principal } = await auth.logIn({ code }, '192.0.2.1');
    await expect(auth.logIn({ code }, 'a')).rejects.toMatchObject({ code: 'LOGIN_FAILED' });
    const subject = principal.actor.sessionId ?? '';
    const lines = await database.db
      .selectFrom('audit')
      .select(['action', 'address', 'detail'])
      .where('subject', '=', subject)
      .execute();
    expect(lines).toEqual([{ action: 'session.create', address: '192.0.2.1', detail: { with: 'code' } }]);
  });

  it('by code is late after ten minutes', () => {
    let now = 0;
    const codes = createLoginCodes(() => now);
    const [early, late] = [codes.issue(), codes.issue()];
    now = 10 * 60_000 - 1;
    expect(codes.redeem(early)).toBe(true);
    now += 1;
    expect(codes.redeem(late)).toBe(false);
  });

  it('is limited per address; the right token in a header is not', async () => {
    const { auth } = create();
    for (let n = 0; n < 10; n++) {
      await expect(auth.logIn({ token: 'wrong' }, 'bad')).rejects.toMatchObject({ code: 'LOGIN_FAILED' });
    }
    await expect(auth.logIn({ token }, 'bad')).rejects.toMatchObject({
      code: 'TOO_MANY_ATTEMPTS',
      status: 429,
    });
    expect(await auth.logIn({ code: auth.issueCode() }, 'bad')).toBeDefined();
    expect(await auth.identify({ bearer: token, ...noCookie }, 'bad')).not.toBeNull();
    expect(await auth.logIn({ token }, 'good')).toBeDefined();
  });
});
