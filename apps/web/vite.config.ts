import adapter from '@sveltejs/adapter-static';
import { sveltekit } from '@sveltejs/kit/vite';
import tailwindcss from '@tailwindcss/vite';
import { defineConfig, type Plugin } from 'vite';

/** Where `vite dev` passes API calls on to: a server started with `npm start`. */
const server = 'http://127.0.0.1:8000';

/**
 * SvelteKit hides its page announcer with a style attribute, which the Content-Security-Policy forbids; the same
 * rules stand in app.css.
 */
const announcerWithoutInlineStyle: Plugin = {
  name: 'announcer-without-inline-style',
  enforce: 'pre',
  transform(code, id) {
    return id.includes('/runtime/components/root.svelte')
      ? code.replace(/\n\s*style="position: absolute[^"]*"/, '')
      : null;
  },
};

export default defineConfig({
  plugins: [
    announcerWithoutInlineStyle,
    tailwindcss(),
    sveltekit({
      // Every address answers with index.html; the server knows which ones are pages.
      adapter: adapter({ fallback: 'index.html' }),
      // Styles stay in files: the server's Content-Security-Policy allows no inline ones.
      inlineStyleThreshold: 0,
    }),
  ],
  // Fonts and images stay files as well: `font-src 'self'`.
  build: { assetsInlineLimit: 0 },
  server: {
    proxy: {
      '/api': server,
      '/healthz': server,
      '/readyz': server,
      '/docs': server,
      '/socket.io': { target: server, ws: true },
    },
  },
});
