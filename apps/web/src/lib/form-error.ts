import { CodedError } from '@vmo/contract';

/** What the server found wrong with one field of a form. */
export function fieldError(error: Error | null, path: string): string | undefined {
  if (!(error instanceof CodedError)) return undefined;
  return error.issues.find((issue) => issue.path === path)?.message;
}

/** Whether an error says more than the fields show already. */
export function formError(error: Error | null, shownPaths: readonly string[]): boolean {
  if (!error) return false;
  if (!(error instanceof CodedError) || error.issues.length === 0) return true;
  return error.issues.some(({ path }) => !shownPaths.includes(path));
}
