/** Answers to one question that is asked again and again: whether this one is to be shown. */
export type IsNews = () => boolean;

/**
 * An answer that comes behind a newer one is passed over. One that is late is not, as long as no newer one is there: where
 * answers take longer than until the next question, none would ever be shown.
 */
export function createNewest(): {
  ask(): IsNews;
  /** Those that are under way are of no use any more. */ forget(): void;
} {
  let asked = 0;
  let shown = 0;
  return {
    ask() {
      const mine = ++asked;
      return () => {
        if (mine <= shown) return false;
        shown = mine;
        return true;
      };
    },
    forget() {
      shown = asked;
    },
  };
}
