import type { CodedError } from '@vmo/contract';

/**
 * The server did not answer: no network, nothing listening, the browser refused the answer (CORS), or it took
 * too long. Nothing is known about whether a command that was under way has been carried out.
 */
export class UnreachableError extends Error {
  readonly baseUrl: string;

  constructor(baseUrl: string, message: string, options: { cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'UnreachableError';
    this.baseUrl = baseUrl;
  }
}

/** Whether what was refused like this is worth asking for again: nothing is wrong with who asks, or with what. */
export const isPassing = ({ code }: CodedError): boolean => code === 'DATABASE_UNAVAILABLE';
