import { createSubscriber } from 'svelte/reactivity';

/** The present second. Whoever reads `now` in a template or effect is updated; nobody reading, nothing ticks. */
class Clock {
  #subscribe = createSubscriber((update) => {
    const timer = setInterval(update, 1000);
    return () => clearInterval(timer);
  });

  get now(): number {
    this.#subscribe();
    return Date.now();
  }
}

export const clock = new Clock();
