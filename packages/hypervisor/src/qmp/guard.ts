/** Calls what others have given, so that whatever it does, we go on. Async functions are others' functions, too. */
export function guard(call: () => unknown, onError: (error: unknown) => void): void {
  try {
    const result = call();
    if (result instanceof Promise) result.catch(onError);
  } catch (error) {
    onError(error);
  }
}

export const warn = (error: unknown): void =>
  process.emitWarning(error instanceof Error ? error : String(error));
