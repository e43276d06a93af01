import type { IncomingMessage } from 'node:http';
import { sessionCookie, type Credentials } from '../auth/index.ts';

/** Reads what a request or handshake carries; nothing is checked yet. */
export function readCredentials({ headers }: Pick<IncomingMessage, 'headers'>): Credentials {
  const bearer = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '')?.[1] ?? null;
  const cookies = (headers.cookie ?? '').split(';').map((part) => part.trim());
  const cookie = cookies
    .find((part) => part.startsWith(`${sessionCookie}=`))
    ?.slice(sessionCookie.length + 1);
  return { bearer, cookie: cookie ?? null };
}

export function readAddress(request: IncomingMessage): string {
  return request.socket.remoteAddress ?? 'unknown';
}
