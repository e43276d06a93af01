import { vmsNamespace, type VmServerEvents } from '@vmo/contract';
import { io, type Socket } from 'socket.io-client';
import type { ConnectionOptions } from './connection.ts';

export interface VmsConnection {
  readonly baseUrl: string;
  readonly isLive: boolean;
  /** Listens to a fact; returns the way to stop. Holds across reconnects. */
  on<E extends keyof VmServerEvents>(event: E, listener: VmServerEvents[E]): () => void;
  /**
   * Called whenever the connection is live (again), also at once if it is, and when the server left facts out because
   * they were not taken: facts sent before have to be read.
   */
  onLive(listener: () => void): () => void;
  /** Begins, where `autoConnect` was off; also tries again now. */
  connect(): void;
  close(): void;
}

const firstRetryMs = 200;
const maxRetryMs = 3_000;

type Listeners = { [E in keyof VmServerEvents]: Set<VmServerEvents[E]> };

/** Connects to the `/vms` namespace, WebSocket only: facts about machines, and nothing to send. */
export function connectVms(options: ConnectionOptions): VmsConnection {
  const base = new URL(options.baseUrl);
  const socket: Socket<VmServerEvents, Record<string, never>> = io(base.origin + vmsNamespace, {
    path: `${base.pathname.replace(/\/+$/, '')}/socket.io`,
    transports: ['websocket'],
    auth: options.token === undefined ? {} : { token: options.token },
    withCredentials: true,
    // An own engine per connection: closing one must not close another's.
    forceNew: true,
    autoConnect: options.autoConnect ?? true,
    reconnectionDelay: firstRetryMs,
    reconnectionDelayMax: maxRetryMs,
  });
  const listeners: Listeners = {
    'vm:status': new Set(),
    'vm:metrics': new Set(),
    'vm:missed': new Set(),
    'vm:event': new Set(),
  };
  const liveListeners = new Set<() => void>();
  let isClosed = false;
  let retry: ReturnType<typeof setTimeout> | undefined;

  socket.on('vm:status', (vm) => listeners['vm:status'].forEach((tell) => tell(vm)));
  socket.on('vm:metrics', (metrics) => listeners['vm:metrics'].forEach((tell) => tell(metrics)));
  socket.on('vm:event', (event) => listeners['vm:event'].forEach((tell) => tell(event)));
  socket.on('vm:missed', (nothing) => {
    listeners['vm:missed'].forEach((tell) => tell(nothing));
    liveListeners.forEach((tell) => tell());
  });
  socket.on('connect', () => liveListeners.forEach((tell) => tell()));
  socket.on('connect_error', () => {
    // Active: socket.io tries again by itself. Else the server answered and said no, which may pass.
    if (!socket.active) later();
  });
  socket.on('disconnect', (reason) => {
    if (reason === 'io server disconnect') later();
  });

  function later(): void {
    clearTimeout(retry);
    if (!isClosed) retry = setTimeout(() => socket.connect(), maxRetryMs * (0.5 + Math.random()));
  }

  return {
    baseUrl: options.baseUrl.replace(/\/+$/, ''),
    get isLive() {
      return socket.connected;
    },
    on(event, listener) {
      const set = listeners[event];
      set.add(listener);
      return () => void set.delete(listener);
    },
    onLive(listener) {
      liveListeners.add(listener);
      if (socket.connected) listener();
      return () => void liveListeners.delete(listener);
    },
    connect() {
      clearTimeout(retry);
      if (!isClosed && !socket.connected) socket.connect();
    },
    close() {
      isClosed = true;
      clearTimeout(retry);
      socket.disconnect();
      liveListeners.clear();
    },
  };
}
