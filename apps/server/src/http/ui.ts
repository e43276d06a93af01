import { createHash, randomBytes } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import express, { Router, type Response } from 'express';

const immutable = 'public, max-age=31536000, immutable';

export interface UiOptions {
  /** The static build of the web application. */
  directory: string;
  /** Origins, besides our own and loopback, whose servers the page may be pointed at. */
  allowedOrigins: readonly string[];
}

interface Page {
  html: string;
  scriptHashes: string[];
  mtimeMs: number;
}

/** The page may talk to its own server, to any on this machine (the backend setting), and to the configured ones. */
function connectSources(allowedOrigins: readonly string[]): string[] {
  const loopback = ['http://127.0.0.1:*', 'http://localhost:*', 'ws://127.0.0.1:*', 'ws://localhost:*'];
  const others = allowedOrigins.flatMap((origin) => [origin, origin.replace(/^http/, 'ws')]);
  return ["'self'", ...loopback, ...others];
}

/** The policy of a page; nothing inline runs unless its hash or nonce is here. */
export function contentSecurityPolicy(options: {
  scriptHashes?: readonly string[];
  styleNonce?: string;
  connect: readonly string[];
}): string {
  const directives = {
    'default-src': ["'self'"],
    'script-src': ["'self'", ...(options.scriptHashes ?? []).map((hash) => `'${hash}'`)],
    'style-src': ["'self'", ...(options.styleNonce === undefined ? [] : [`'nonce-${options.styleNonce}'`])],
    'img-src': ["'self'", 'data:'],
    'font-src': ["'self'"],
    'connect-src': options.connect,
    'object-src': ["'none'"],
    'base-uri': ["'none'"],
    'form-action': ["'self'"],
    'frame-ancestors': ["'none'"],
  };
  return Object.entries(directives)
    .map(([name, sources]) => `${name} ${sources.join(' ')}`)
    .join('; ');
}

/** `sha256-…` of every inline script, as a policy names it. */
export function hashInlineScripts(html: string): string[] {
  return [...html.matchAll(/<script(?![^>]*\ssrc=)[^>]*>([\s\S]*?)<\/script>/gi)].map(
    ([, body = '']) => `sha256-${createHash('sha256').update(body).digest('base64')}`,
  );
}

const notBuilt = `<!doctype html><html lang="en"><meta charset="utf-8"><title>VM-Orchestrator</title>
<h1>The web interface is not built</h1>
<p>Run <code>npm run build -w @vmo/web</code>, or start with <code>npm start</code>, which builds it. The API works:
see <a href="/docs">its documentation</a>.</p></html>`;

/** Serves the web application: hashed files for ever, the page itself always fresh, for every path that is a view. */
export function createUi({ directory, allowedOrigins }: UiOptions): Router {
  const connect = connectSources(allowedOrigins);
  const path = join(directory, 'index.html');
  let page: Page | null = null;

  async function loadPage(): Promise<Page | null> {
    const found = await stat(path).catch(() => null);
    if (!found) return null;
    if (page?.mtimeMs !== found.mtimeMs) {
      const html = await readFile(path, 'utf8');
      page = { html, scriptHashes: hashInlineScripts(html), mtimeMs: found.mtimeMs };
    }
    return page;
  }

  async function sendPage(response: Response): Promise<void> {
    const loaded = await loadPage();
    response.type('html').setHeader('Cache-Control', 'no-cache');
    if (!loaded) {
      response.status(503).setHeader('Content-Security-Policy', contentSecurityPolicy({ connect }));
      response.send(notBuilt);
      return;
    }
    const nonce = randomBytes(16).toString('base64');
    const { scriptHashes, html } = loaded;
    response.setHeader(
      'Content-Security-Policy',
      contentSecurityPolicy({ scriptHashes, styleNonce: nonce, connect }),
    );
    response.send(html.replace(/(<meta name="csp-nonce" content=")[^"]*(")/, `$1${nonce}$2`));
  }

  const router = Router();
  router.use(
    express.static(directory, {
      index: false,
      redirect: false,
      setHeaders(response, file) {
        const hashed = file.startsWith(join(directory, '_app', 'immutable'));
        response.setHeader('Cache-Control', hashed ? immutable : 'no-cache');
        // A service worker brings its own policy.
        response.setHeader('Content-Security-Policy', contentSecurityPolicy({ connect }));
      },
    }),
  );
  router.get('/{*path}', async (request, response, next) => {
    if (extname(request.path) !== '' && request.path !== '/index.html') next();
    else await sendPage(response);
  });
  return router;
}
