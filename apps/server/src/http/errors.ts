import { CodedError, errorStatus, type ErrorCode, type Problem } from '@vmo/contract';
import { isDatabaseUnavailable } from '@vmo/db';
import type { ErrorRequestHandler } from 'express';
import { TooManyAttempts } from '../auth/index.ts';
import type { Logger } from '../kernel/logger.ts';

/** How body-parser names what it refuses. */
const bodyErrors: Readonly<Record<string, ErrorCode>> = {
  'entity.parse.failed': 'BAD_JSON',
  'request.size.invalid': 'BAD_JSON',
  'request.aborted': 'BAD_JSON',
  'entity.too.large': 'BODY_TOO_LARGE',
  'encoding.unsupported': 'NOT_JSON',
  'charset.unsupported': 'NOT_JSON',
};

/** Every error as a coded one: what is not expected becomes INTERNAL, whose words tell nothing of the inside. */
export function toCodedError(error: unknown): CodedError {
  if (error instanceof CodedError) return error;
  if (isDatabaseUnavailable(error)) {
    return new CodedError('DATABASE_UNAVAILABLE', 'the database does not answer: try again in a moment', {
      cause: error,
    });
  }
  if (error instanceof URIError) return new CodedError('NOT_FOUND', 'the path is not well encoded');
  if (error instanceof Error && 'type' in error && typeof error.type === 'string') {
    const code = bodyErrors[error.type];
    if (code) return new CodedError(code, `the body was refused: ${error.message}`);
  }
  return new CodedError('INTERNAL', 'something went wrong here: the server log says what', { cause: error });
}

/** Logs a bug with its stack, and an expected error in one quiet line. */
export function logError(logger: Logger, error: CodedError, where: string): void {
  if (error.code === 'INTERNAL') logger.error({ err: error.cause, where }, 'unexpected error');
  else if (error.code === 'DATABASE_UNAVAILABLE') logger.warn({ where }, error.message);
  else logger.debug({ code: error.code, where }, error.message);
}

export function toProblem(error: CodedError): Problem {
  const words = error.code.toLowerCase().replaceAll('_', ' ');
  return {
    type: `/docs#${error.code}`,
    title: words.charAt(0).toUpperCase() + words.slice(1),
    status: errorStatus[error.code],
    code: error.code,
    detail: error.message,
    ...(error.issues.length > 0 ? { issues: [...error.issues] } : {}),
  };
}

/** The last handler: answers every error as `application/problem+json`. */
export function answerErrors(logger: Logger): ErrorRequestHandler {
  return (thrown: unknown, request, response, next) => {
    const error = toCodedError(thrown);
    logError(logger, error, `${request.method} ${request.path}`);
    if (response.headersSent) {
      next(thrown); // half an answer cannot be taken back: Express closes the connection
      return;
    }
    if (error.status === 401) response.setHeader('WWW-Authenticate', 'Bearer');
    if (error instanceof TooManyAttempts) response.setHeader('Retry-After', String(error.retryAfterSeconds));
    response
      .status(error.status)
      .type('application/problem+json')
      .send(JSON.stringify(toProblem(error)));
  };
}
