/** `ENOENT` and the like; undefined for an error that did not come from the system. */
export const codeOf = (error: unknown): unknown =>
  error instanceof Error && 'code' in error ? error.code : undefined;

/** What an error says, without its class. */
export const wordsOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
