import { UnreachableError } from '@vmo/client';
import { CodedError, type ServerInfo } from '@vmo/contract';
import { api, connection, isForeignServer, keepToken } from './api.ts';

const loginFragment = /^#login=(.+)$/;

/** Takes the one-time code out of the address bar at once, before anything can copy or keep it. */
function takeLoginCode(): string | null {
  const code = loginFragment.exec(location.hash)?.[1];
  if (!code) return null;
  history.replaceState(history.state, '', location.pathname + location.search);
  return decodeURIComponent(code);
}

/** Who is logged in: decides between the login screen and the cockpit. */
class SessionState {
  /** checking: not known yet · in · out: the login screen · unreachable: no server answers. */
  phase: 'checking' | 'in' | 'out' | 'unreachable' = $state('checking');
  /** Why the last attempt did not work. */
  error: Error | null = $state.raw(null);
  info: ServerInfo | null = $state.raw(null);
  user = $state('');
  busy = $state(false);
  #retry: ReturnType<typeof setTimeout> | undefined;

  /** Called once, when the page starts. */
  async start(): Promise<void> {
    connection.onState(({ phase, error }) => {
      if (phase === 'refused' && this.phase === 'in') this.#leave(error);
    });
    const code = takeLoginCode();
    if (code) await this.login({ code });
    else await this.check();
  }

  async check(): Promise<void> {
    clearTimeout(this.#retry);
    try {
      const { session } = await api.call('getSession');
      await this.#enter(session.user);
    } catch (error) {
      this.#refuse(error);
    }
  }

  async login(credential: { code: string } | { token: string }): Promise<void> {
    this.busy = true;
    this.error = null;
    try {
      const { session } = await api.call('login', { body: credential });
      if (isForeignServer && 'token' in credential) {
        keepToken(credential.token);
        location.reload();
        return;
      }
      await this.#enter(session.user);
    } catch (error) {
      // A used code is no news to somebody who is logged in already, as after a reload of the start URL.
      if ('code' in credential && error instanceof CodedError) await this.check();
      this.error = this.phase === 'in' ? null : asError(error);
      if (this.phase === 'checking') this.#refuse(error);
    } finally {
      this.busy = false;
    }
  }

  async logout(): Promise<void> {
    await api.call('logout');
    keepToken(null);
    location.assign('/');
  }

  async #enter(user: string): Promise<void> {
    this.info = await api.call('getInfo');
    this.user = user;
    this.error = null;
    this.phase = 'in';
    connection.reconnect();
  }

  #leave(error: Error | null): void {
    this.phase = 'out';
    this.error = error;
  }

  #refuse(error: unknown): void {
    if (error instanceof CodedError && error.status === 401) {
      this.phase = 'out';
      return;
    }
    this.error = asError(error);
    this.phase = error instanceof UnreachableError ? 'unreachable' : 'out';
    if (this.phase === 'unreachable') this.#retry = setTimeout(() => void this.check(), 3000);
  }
}

export function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

export const session = new SessionState();
