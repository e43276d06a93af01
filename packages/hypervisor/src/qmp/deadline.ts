/** What a timer of Node takes at most; more would fire at once. */
const longest = 2 ** 31 - 1;

/**
 * Calls `late` after `ms`, unless cancelled before. When this process itself was held up (a long computation, a machine
 * that slept), a timer runs before the answer that has long been there is read: so one more look at the sockets comes
 * first, and only then is anybody called late.
 * @param ms Infinity: never
 */
export function startDeadline(ms: number, late: () => void): { cancel: () => void } {
  let look: NodeJS.Immediate | undefined;
  const timer =
    ms > longest
      ? undefined
      : setTimeout(() => {
          look = setImmediate(late);
        }, ms);
  return {
    cancel() {
      clearTimeout(timer);
      clearImmediate(look);
    },
  };
}
