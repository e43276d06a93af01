import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Router } from 'express';
import { permit, type Auth } from '../auth/index.ts';
import { readAddress, readCredentials } from './credentials.ts';

interface Documents {
  openApi: string;
  page: string;
}

/** Much of the time of a start, for what is seldom read: made when somebody asks. */
async function makeDocuments(version: string): Promise<Documents> {
  const [{ createOpenApi }, { createDocsPage }] = await Promise.all([
    import('./openapi.ts'),
    import('./docs-page.ts'),
  ]);
  return { openApi: JSON.stringify(createOpenApi(version)), page: createDocsPage(version) };
}

/** The API's documentation: for programs at /api/v1/openapi.json, for people at /docs. */
export function createDocs({ version, auth }: { version: string; auth: Auth }): Router {
  let made: Promise<Documents> | null = null;
  const documents = () => (made ??= makeDocuments(version));
  const styles = readFileSync(join(import.meta.dirname, 'docs.css'), 'utf8');
  const router = Router();
  // What the API looks like is nobody's business who may not use it.
  router.use(['/api/v1/openapi.json', '/api/openapi.json', '/docs'], async (request, _response, next) => {
    permit(await auth.identify(readCredentials(request), readAddress(request)), 'system:read');
    next();
  });
  router.get(['/api/v1/openapi.json', '/api/openapi.json'], async (_request, response) => {
    response.type('json').send((await documents()).openApi);
  });
  router.get('/docs', async (_request, response) => {
    const { page } = await documents();
    response.setHeader(
      'Content-Security-Policy',
      "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    );
    response.type('html').send(page);
  });
  router.get('/docs/docs.css', (_request, response) => {
    response.type('css').send(styles);
  });
  return router;
}
