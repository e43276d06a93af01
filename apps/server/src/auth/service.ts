import { CodedError, type AgentId, type ImageCopy, type Login, type Permission } from '@vmo/contract';
import type { Database } from '@vmo/db';
import type { Kysely } from 'kysely';
import type { Actor } from '../kernel/actor.ts';
import type { Bus } from '../kernel/bus.ts';
import { newId } from '../kernel/ids.ts';
import { createAttempts } from './attempts.ts';
import { audit } from './audit.ts';
import { createLoginCodes } from './login-codes.ts';
import * as repository from './repository.ts';
import { hashSecret, matchesHash, newSecret } from './secrets.ts';

export const sessionCookie = 'vmo_session';
const sessionDays = 30;
/** The one user there is until accounts come. */
const owner = 'owner';

/** Somebody whose credential was checked. */
export interface Principal {
  actor: Actor;
  /** null: a bearer token, which does not expire. */
  expiresAt: Date | null;
  permissions: 'all' | ReadonlySet<Permission>;
  /** An agent, which may do nothing but its work. */
  agent?: AgentPrincipal;
}

/** An agent whose token was checked. */
export interface AgentPrincipal {
  id: AgentId;
  name: string;
  images: readonly ImageCopy[];
  /** The largest image that it brings when it lacks it, in bytes; 0: it brings none. */
  bringsUpTo: number;
  /** It has a lease, and nobody wants it to drain. */
  mayTake: boolean;
  /** Why it may not do any work until it begins anew: it speaks another version of the contract. */
  objection: CodedError | null;
}

const agentPermissions: ReadonlySet<Permission> = new Set(['agents:greet', 'agents:work']);
const strangerPermissions: ReadonlySet<Permission> = new Set(['agents:greet']);

/** What a request or handshake carries. A bearer token, where given, is the one that counts. */
export interface Credentials {
  bearer: string | null;
  cookie: string | null;
}

export interface Auth {
  /**
   * Who this is; null without a credential.
   * @throws CodedError UNAUTHENTICATED for a wrong, expired or revoked one (AGENT_REVOKED for an agent's), TooManyAttempts
   * after too many
   */
  identify(credentials: Credentials, address: string): Promise<Principal | null>;
  /** @throws CodedError LOGIN_FAILED, TooManyAttempts */
  logIn(input: Login, address: string): Promise<{ principal: Principal; secret: string; maxAgeMs: number }>;
  logOut(actor: Actor): Promise<void>;
  /** A new one-time login code. */
  issueCode(): string;
  /** Those of the given sessions that are still live. */
  filterLive(sessionIds: readonly string[]): Promise<Set<string>>;
}

/** Too many wrong credentials came from one address. */
export class TooManyAttempts extends CodedError {
  readonly retryAfterSeconds: number;

  constructor(seconds: number) {
    super('TOO_MANY_ATTEMPTS', `too many failed attempts: try again in ${String(seconds)} s`);
    this.retryAfterSeconds = seconds;
  }
}

export const holds = ({ permissions }: Principal, permission: Permission): boolean =>
  permissions === 'all' || permissions.has(permission);

/**
 * @throws CodedError UNAUTHENTICATED without a principal, FORBIDDEN when it lacks the permission, AGENT_INCOMPATIBLE when it
 * is an agent's that only another version keeps from it
 */
export function permit(principal: Principal | null, permission: Permission): asserts principal is Principal {
  if (!principal)
    throw new CodedError('UNAUTHENTICATED', 'log in, or send the token as `Authorization: Bearer …`');
  if (!holds(principal, permission)) {
    const objection = agentPermissions.has(permission) ? principal.agent?.objection : null;
    if (objection) throw objection;
    throw new CodedError('FORBIDDEN', `this needs the permission ${permission}`);
  }
}

export interface AuthDeps {
  db: Kysely<Database>;
  bus: Bus;
  token: string;
  /**
   * Which agent has this token; null: none.
   * @throws CodedError AGENT_REVOKED
   */
  findAgent: (token: string) => Promise<AgentPrincipal | null>;
}

export function createAuth({ db, bus, token, findAgent }: AuthDeps): Auth {
  const tokenHash = hashSecret(token);
  // Apart from each other: a program with an outdated token must not lock the person beside it out of logging in.
  const attempts = { bearer: createAttempts(), login: createAttempts() };
  const codes = createLoginCodes();

  function refuseWhenLimited(kind: keyof typeof attempts, address: string): void {
    const seconds = attempts[kind].retryAfter(address);
    if (seconds > 0) throw new TooManyAttempts(seconds);
  }

  return {
    async identify({ bearer, cookie }, address) {
      const actor: Actor = { name: owner, sessionId: null, address };
      if (bearer !== null) {
        // Compared before the limit is looked at: others' failures must not lock out who has the right one.
        if (matchesHash(bearer, tokenHash)) return { actor, expiresAt: null, permissions: 'all' };
        const agent = await findAgent(bearer);
        if (agent) {
          const asAgent = { ...actor, name: `agent ${agent.name}` };
          const permissions = agent.objection ? strangerPermissions : agentPermissions;
          return { actor: asAgent, expiresAt: null, permissions, agent };
        }
        refuseWhenLimited('bearer', address);
        attempts.bearer.fail(address);
        throw new CodedError('UNAUTHENTICATED', 'the bearer token is wrong');
      }
      if (cookie === null) return null;
      const session = await repository.findLiveSession(db, hashSecret(cookie));
      if (!session) throw new CodedError('UNAUTHENTICATED', 'the session is over: log in again');
      return {
        actor: { name: session.userName, sessionId: session.id, address },
        expiresAt: session.expiresAt,
        permissions: 'all',
      };
    },

    async logIn(input, address) {
      // A code of 256 bits cannot be guessed, so whoever has it gets in; a configured token may be a short one.
      if ('token' in input) refuseWhenLimited('login', address);
      const correct = 'code' in input ? codes.redeem(input.code) : matchesHash(input.token, tokenHash);
      if (!correct) {
        refuseWhenLimited('login', address);
        attempts.login.fail(address);
        throw new CodedError(
          'LOGIN_FAILED',
          'code' in input
            ? 'this start link was used before or is older than 10 minutes: log in with the token, or restart for a new link'
            : 'the token is wrong',
        );
      }
      const secret = newSecret();
      const maxAgeMs = sessionDays * 86_400_000;
      const session = { id: newId(), userName: owner, expiresAt: new Date(Date.now() + maxAgeMs) };
      const actor: Actor = { name: owner, sessionId: session.id, address };
      await db.transaction().execute(async (trx) => {
        await repository.insertSession(trx, { ...session, tokenHash: hashSecret(secret), address });
        await audit.record(trx, actor, 'session.create', session.id, {
          with: 'code' in input ? 'code' : 'token',
        });
      });
      return { principal: { actor, expiresAt: session.expiresAt, permissions: 'all' }, secret, maxAgeMs };
    },

    async logOut(actor) {
      const { sessionId } = actor;
      if (sessionId === null) return;
      await db.transaction().execute(async (trx) => {
        if (await repository.revokeSession(trx, sessionId)) {
          await audit.record(trx, actor, 'session.end', sessionId);
        }
      });
      bus.emit('session:ended', { sessionId });
    },

    issueCode: () => codes.issue(),
    filterLive: async (ids) => (ids.length === 0 ? new Set() : await repository.filterLiveSessions(db, ids)),
  };
}
