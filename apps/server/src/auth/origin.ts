import { hostname } from 'node:os';
import { isIP } from 'node:net';

/**
 * Which pages may talk to this server, and under which names it may be reached. A browser tells both, and a page
 * cannot forge either, so they stop foreign pages (by Origin) and foreign names that resolve to us, as in DNS
 * rebinding (by Host).
 */
export interface OriginPolicy {
  allowsOrigin(origin: string): boolean;
  allowsHost(host: string | undefined): boolean;
}

export interface OriginPolicyOptions {
  scheme: 'http' | 'https';
  host: string;
  /** Asked at every check: the port is known only after listening. */
  port: () => number;
  /** Serialised origins, as `https://cockpit.example.org`. */
  allowedOrigins: readonly string[];
}

function parse(url: string): URL | null {
  return URL.canParse(url) ? new URL(url) : null;
}

/** `[::1]` for `::1`, as it stands in a URL. */
export function inUrl(host: string): string {
  return isIP(host) === 6 ? `[${host}]` : host;
}

/** Our own names: loopback and VMO_HOST; on a wildcard address also every IP literal and the machine's name. */
export function createOriginPolicy(options: OriginPolicyOptions): OriginPolicy {
  const { scheme, allowedOrigins } = options;
  const anyAddress = options.host === '0.0.0.0' || options.host === '::';
  const names = new Set(['127.0.0.1', 'localhost', '[::1]', inUrl(options.host).toLowerCase()]);
  if (anyAddress) names.add(hostname().toLowerCase());

  function isOurs(url: URL): boolean {
    const port = Number(url.port || (scheme === 'https' ? 443 : 80));
    if (url.protocol !== `${scheme}:` || port !== options.port()) return false;
    // An address cannot be rebound: only names can be made to point at us by somebody else.
    return names.has(url.hostname) || (anyAddress && isIP(url.hostname.replace(/^\[|\]$/g, '')) !== 0);
  }

  return {
    allowsOrigin(origin) {
      if (allowedOrigins.includes(origin)) return true;
      const url = parse(origin);
      // Only the serialised form is an origin: no user, path, capital or superfluous port.
      return url !== null && url.origin === origin && isOurs(url);
    },
    allowsHost(host) {
      if (host === undefined || !/^[\w.:[\]-]+$/.test(host)) return false;
      const url = parse(`${scheme}://${host}`);
      if (!url) return false;
      return isOurs(url) || allowedOrigins.some((origin) => new URL(origin).host === url.host);
    },
  };
}
