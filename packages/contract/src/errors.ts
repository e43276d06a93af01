import { z } from 'zod';

/** Every error the API can answer with: code → HTTP status. The codes are stable; the words are not. */
export const errorStatus = {
  BAD_JSON: 400,
  UNAUTHENTICATED: 401,
  LOGIN_FAILED: 401,
  AGENT_REVOKED: 401,
  FORBIDDEN: 403,
  ORIGIN_REFUSED: 403,
  NOT_FOUND: 404,
  JOB_NOT_FOUND: 404,
  WORKSPACE_NOT_FOUND: 404,
  HOST_NOT_FOUND: 404,
  VM_NOT_FOUND: 404,
  DISK_NOT_FOUND: 404,
  IMAGE_NOT_FOUND: 404,
  SNAPSHOT_NOT_FOUND: 404,
  TEMPLATE_NOT_FOUND: 404,
  OPERATION_NOT_FOUND: 404,
  REQUEST_NOT_FOUND: 404,
  ARTIFACT_NOT_FOUND: 404,
  AGENT_NOT_FOUND: 404,
  JOB_ALREADY_FINISHED: 409,
  JOB_NOT_RUNNING: 409,
  SECRETS_FORGOTTEN: 409,
  NOT_IN_CONTROL: 409,
  INPUT_NOT_READ: 409,
  NAME_TAKEN: 409,
  HOST_IN_USE: 409,
  HOST_KEY_UNTRUSTED: 409,
  VM_WRONG_STATE: 409,
  DISK_IN_USE: 409,
  DISK_NOT_READY: 409,
  IMAGE_IN_USE: 409,
  IMAGE_NOT_READY: 409,
  REQUEST_WRONG_STATE: 409,
  WRONG_OFFSET: 409,
  AGENT_BUSY: 409,
  AGENT_ELSEWHERE: 409,
  AGENT_INCOMPATIBLE: 409,
  BODY_TOO_LARGE: 413,
  NOT_JSON: 415,
  NOT_BYTES: 415,
  INVALID_INPUT: 422,
  DIRECTORY_UNUSABLE: 422,
  MAKE_FAILED: 422,
  HOST_UNREACHABLE: 422,
  NOT_A_TERMINAL: 422,
  NO_EXTERNAL_TERMINAL: 422,
  IMAGE_REFUSED: 422,
  VM_IMPOSSIBLE: 422,
  TOO_MANY_ATTEMPTS: 429,
  INTERNAL: 500,
  DATABASE_UNAVAILABLE: 503,
  HYPERVISOR_UNAVAILABLE: 503,
  STORAGE_FULL: 503,
} as const;

export type ErrorCode = keyof typeof errorStatus;
export const ErrorCode = z.enum(Object.keys(errorStatus) as [ErrorCode, ...ErrorCode[]]);

/** One problem with one field of the input; `path` names it the way the sender wrote it: `env.PATH`, `timeout`. */
export const FieldIssue = z.object({ path: z.string(), message: z.string() });
export type FieldIssue = z.infer<typeof FieldIssue>;

/**
 * The one error class. Expected errors are thrown as this, with words that say what was wrong and what is
 * right; anything else that is thrown is a bug and answered as `INTERNAL`.
 */
export class CodedError extends Error {
  readonly code: ErrorCode;
  readonly issues: readonly FieldIssue[];

  constructor(
    code: ErrorCode,
    message: string,
    options: { issues?: readonly FieldIssue[]; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'CodedError';
    this.code = code;
    this.issues = options.issues ?? [];
  }

  get status(): number {
    return errorStatus[this.code];
  }
}

/** The body of every REST error (RFC 9457, `application/problem+json`). */
export const Problem = z.object({
  type: z.string().describe('About this code, in the API documentation'),
  title: z.string(),
  status: z.int(),
  code: ErrorCode,
  detail: z.string(),
  issues: z.array(FieldIssue).optional(),
});
export type Problem = z.infer<typeof Problem>;

/** A schema's complaints in our form, with dotted paths. */
export function toFieldIssues(error: z.core.$ZodError): FieldIssue[] {
  return error.issues.flatMap((issue) =>
    issue.code === 'unrecognized_keys'
      ? issue.keys.map((key) => ({ path: [...issue.path, key].join('.'), message: 'unknown field' }))
      : [{ path: issue.path.join('.'), message: issue.message }],
  );
}

/**
 * Parses input at the door.
 * @throws CodedError INVALID_INPUT naming every wrong field.
 */
export function parseInput<T>(schema: z.ZodType<T>, input: unknown): T {
  const result = schema.safeParse(input);
  if (result.success) return result.data;
  const issues = toFieldIssues(result.error);
  const words = issues.map(({ path, message }) => (path ? `${path}: ${message}` : message)).join('; ');
  throw new CodedError('INVALID_INPUT', words, { issues });
}
