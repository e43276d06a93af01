import { connectJobs, connectVms, createClient } from '@vmo/client';
import { preferences } from './preferences.svelte.ts';

/** Where the server is. A change of the setting reloads the page, so that nothing of two servers ever mixes. */
export const baseUrl = (preferences.backendUrl || location.origin).replace(/\/+$/, '');

/** A server of another origin gets no cookie of ours (SameSite=Strict), so the token is sent instead. */
export const isForeignServer = new URL(baseUrl).origin !== location.origin;

const tokenKey = `vmo.token ${baseUrl}`;

function keptToken(): string | null {
  try {
    return isForeignServer ? sessionStorage.getItem(tokenKey) : null;
  } catch {
    return null;
  }
}

/** Keeps the token of a foreign server until this browser tab is closed. */
export function keepToken(token: string | null): void {
  if (token === null) sessionStorage.removeItem(tokenKey);
  else sessionStorage.setItem(tokenKey, token);
}

const token = keptToken();
const credential = token === null ? {} : { token };

export const api = createClient({ baseUrl, ...credential });

/** Opened by the session state, once somebody is logged in. */
export const connection = connectJobs({ baseUrl, autoConnect: false, ...credential });

/** Facts about machines; opened by the first page that shows some. */
export const vmsConnection = connectVms({ baseUrl, autoConnect: false, ...credential });
