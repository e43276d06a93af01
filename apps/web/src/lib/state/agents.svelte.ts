import type { Agent, AgentId } from '@vmo/contract';
import { api } from './api.ts';
import { createNewest } from './newest.ts';
import { asError } from './session.svelte.ts';
import { toasts } from './toasts.svelte.ts';

/** Nobody tells of agents: while they are looked at, they are read again this often, in milliseconds. */
const readEvery = 3_000;

/** Who takes jobs, and how much of each. */
export class Agents {
  list: readonly Agent[] = $state.raw([]);
  loaded = $state(false);
  error: Error | null = $state.raw(null);
  readonly #newest = createNewest();
  #reading = 0;

  /** Reads them, and again and again, until stopped. */
  start(): () => void {
    void this.load();
    const timer = setInterval(() => {
      if (!document.hidden && this.#reading === 0) void this.load();
    }, readEvery);
    return () => clearInterval(timer);
  }

  async load(): Promise<void> {
    const isNews = this.#newest.ask();
    this.#reading += 1;
    try {
      const { agents } = await api.call('listAgents');
      if (!isNews()) return;
      this.list = agents;
      this.error = null;
      this.loaded = true;
    } catch (error) {
      if (!isNews()) return;
      this.error = asError(error);
      this.loaded = true;
    } finally {
      this.#reading -= 1;
    }
  }

  /** @returns its token, which is shown this once. @throws as the server said it; so do those below. */
  async add(name: string): Promise<string> {
    const { token } = await api.call('addAgent', { body: { name } });
    await this.load();
    return token;
  }

  async revoke(agentId: AgentId): Promise<void> {
    await api.call('revokeAgent', { params: { agentId } });
    await this.load();
  }

  async remove(agentId: AgentId): Promise<void> {
    await api.call('removeAgent', { params: { agentId } });
    await this.load();
  }

  /** It takes no more jobs, or takes them again. */
  async setDraining({ id: agentId, name }: Agent, draining: boolean): Promise<void> {
    try {
      await api.call(draining ? 'drainAgent' : 'resumeAgent', { params: { agentId } });
    } catch (error) {
      toasts.error(`${name} was not ${draining ? 'drained' : 'resumed'}`, error);
    }
    await this.load();
  }
}

class AgentsPage {
  /** The dialog for a new agent is open. */
  adding = $state(false);
}

export const agentsPage = new AgentsPage();
