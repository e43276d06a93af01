import type { ConnectionPhase } from '@vmo/client';
import { connection } from './api.ts';

const measureEveryMs = 5_000;

/** The state of the live connection, as people see it. */
class ConnectionView {
  phase: ConnectionPhase = $state('connecting');
  since = $state(Date.now());
  error: Error | null = $state.raw(null);
  /** Milliseconds of the last round trip; null: not measured yet. */
  latency: number | null = $state(null);
  /** Counts how often the connection became live: lists re-read themselves when it grows. */
  rounds = $state(0);
  #timer: ReturnType<typeof setInterval> | undefined;

  start(): () => void {
    const stop = connection.onState(({ phase, since, error }) => {
      if (phase === 'live' && this.phase !== 'live') this.rounds += 1;
      this.phase = phase;
      this.since = since;
      this.error = error;
      if (phase !== 'live') this.latency = null;
      // Not at once: while the page loads, the figure would tell of the page rather than of the link.
      else setTimeout(() => void this.#measure(), 1000);
    });
    this.#timer = setInterval(() => void this.#measure(), measureEveryMs);
    return () => {
      stop();
      clearInterval(this.#timer);
    };
  }

  get words(): string {
    switch (this.phase) {
      case 'live':
        return 'live';
      case 'connecting':
        return 'connecting';
      case 'lost':
        return 'reconnecting';
      case 'refused':
        return 'refused';
      case 'closed':
        return 'closed';
    }
  }

  reconnect(): void {
    connection.reconnect();
  }

  async #measure(): Promise<void> {
    if (connection.state.phase !== 'live' || document.hidden) return;
    try {
      this.latency = await connection.measureLatency();
    } catch {
      // The connection went away meanwhile; its own state says so.
      this.latency = null;
    }
  }
}

export const connectionView = new ConnectionView();
