export interface Toast {
  id: number;
  kind: 'info' | 'error';
  title: string;
  detail: string;
  action?: { label: string; run: () => void };
}

const infoStaysMs = 6_000;

/** Short words at the edge of the page. Errors stay until they are closed, so that they can be read and copied. */
class Toasts {
  list: Toast[] = $state([]);
  #next = 1;

  info(title: string, detail = '', action?: Toast['action']): void {
    const id = this.#add({ kind: 'info', title, detail, ...(action ? { action } : {}) });
    setTimeout(() => this.close(id), infoStaysMs);
  }

  error(title: string, error: unknown): void {
    const detail = error instanceof Error ? error.message : String(error);
    // The same error again and again is still one thing to read.
    if (this.list.some((toast) => toast.title === title && toast.detail === detail)) return;
    this.#add({ kind: 'error', title, detail });
  }

  close(id: number): void {
    this.list = this.list.filter((toast) => toast.id !== id);
  }

  #add(toast: Omit<Toast, 'id'>): number {
    const id = this.#next++;
    this.list = [...this.list.slice(-3), { id, ...toast }];
    return id;
  }
}

export const toasts = new Toasts();
