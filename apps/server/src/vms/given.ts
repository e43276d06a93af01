/**
 * Columns to set, of which those that are undefined are left as they are. kysely leaves them out; only the types of the
 * compiler (exactOptionalPropertyTypes) do not know it.
 */
export function given<T extends object>(columns: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return columns as { [K in keyof T]: Exclude<T[K], undefined> };
}
