import { createClient } from '@vmo/client';

/** An address as people type it, in the form that is kept; null when it is none. */
export function readBackendUrl(text: string): string | null {
  const trimmed = text.trim().replace(/\/+$/, '');
  if (trimmed === '') return null;
  try {
    const url = new URL(/^[a-z]+:\/\//i.test(trimmed) ? trimmed : `http://${trimmed}`);
    if (url.protocol !== 'http:' && url.protocol !== 'https:') return null;
    return url.origin + url.pathname.replace(/\/+$/, '');
  } catch {
    return null;
  }
}

/**
 * Asks a server for its health before anything is entrusted to it.
 * @throws UnreachableError when it does not answer as one of ours does.
 */
export async function testBackend(baseUrl: string): Promise<void> {
  await createClient({ baseUrl, timeoutMs: 5000 }).call('health');
}
