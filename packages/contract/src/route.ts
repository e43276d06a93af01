import type { z } from 'zod';
import type { Permission } from './permissions.ts';

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** One REST route, as the table declares it. */
export interface Route {
  readonly method: Method;
  /** Below the API prefix (`/api/v1`, also `/api`), parameters as `:name`; with `atRoot` below `/`. */
  readonly path: string;
  readonly atRoot?: true;
  /** Below the API prefix and below `/`. There a browser that asks for a page gets the page. */
  readonly alsoAtRoot?: true;
  readonly permission: Permission;
  readonly summary: string;
  readonly params?: z.ZodType;
  readonly query?: z.ZodType;
  readonly body?: z.ZodType;
  /** Of a JSON body; default 256 KiB. */
  readonly maxBodyBytes?: number;
  /** The body is bytes of this media type, read by the handler as they come. */
  readonly rawBody?: string;
  /** JSON answer; absent with `raw` (bytes) or where there is none (204). */
  readonly response?: z.ZodType;
  readonly raw?: string;
  readonly status?: number;
}
