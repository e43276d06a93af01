import type { Auth, Principal } from '../auth/index.ts';

/** How long a revoked or expired session may live on in a connection, at most; a logout here ends it at once. */
const sessionCheckMs = 1000;

/** A connection that ends with the session that it was opened with. */
export interface Held {
  principal: Principal;
  end(): void;
}

/** Ends connections whose session is over. Those of a bearer token have none, and stay. */
export function createSessions(auth: Pick<Auth, 'filterLive'>, onError: (error: unknown) => void) {
  const all = new Set<Held>();

  function endWhere(isOver: (sessionId: string) => boolean): void {
    for (const held of [...all]) {
      const { sessionId } = held.principal.actor;
      if (sessionId !== null && isOver(sessionId)) held.end();
    }
  }

  async function check(): Promise<void> {
    const sessionIds = new Set([...all].flatMap(({ principal }) => principal.actor.sessionId ?? []));
    if (sessionIds.size === 0) return;
    const live = await auth.filterLive([...sessionIds]);
    endWhere((sessionId) => sessionIds.has(sessionId) && !live.has(sessionId));
  }

  let checking = false;
  const timer = setInterval(() => {
    if (checking) return;
    checking = true;
    check()
      .catch(onError)
      .finally(() => {
        checking = false;
      });
  }, sessionCheckMs);

  return {
    /** @returns to be called when the connection is gone */
    hold(held: Held): () => void {
      all.add(held);
      return () => all.delete(held);
    },
    ended(sessionId: string): void {
      endWhere((id) => id === sessionId);
    },
    close(): void {
      clearInterval(timer);
    },
  };
}

export type Sessions = ReturnType<typeof createSessions>;
