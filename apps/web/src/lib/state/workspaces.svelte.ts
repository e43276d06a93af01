import {
  WorkspaceId,
  type TargetList,
  type Workspace,
  type WorkspaceChange,
  type NewWorkspace,
} from '@vmo/contract';
import { api } from './api.ts';
import { asError } from './session.svelte.ts';

const selectedKey = 'vmo.workspace';

function keptSelection(): WorkspaceId | undefined {
  try {
    return WorkspaceId.safeParse(localStorage.getItem(selectedKey)).data;
  } catch {
    return undefined;
  }
}

/** The workspaces, which one is selected, and its make targets. */
class Workspaces {
  list: Workspace[] = $state.raw([]);
  loaded = $state(false);
  error: Error | null = $state.raw(null);
  targets: TargetList | null = $state.raw(null);
  targetsError: Error | null = $state.raw(null);
  targetsLoading = $state(false);
  #selected: WorkspaceId | undefined = $state(keptSelection());
  #asked = 0;

  get selected(): Workspace | undefined {
    return this.list.find(({ id }) => id === this.#selected) ?? this.list[0];
  }

  byId(id: WorkspaceId | null): Workspace | undefined {
    return this.list.find((workspace) => workspace.id === id);
  }

  async load(): Promise<void> {
    const before = this.selected?.id;
    try {
      const { workspaces } = await api.call('listWorkspaces');
      this.list = workspaces;
      this.error = null;
      // The first start: the demo has a button that is worth a first click.
      if (!this.#selected) this.#selected = workspaces.find(({ name }) => name === 'demo')?.id;
    } catch (error) {
      this.error = asError(error);
    }
    this.loaded = true;
    if (this.selected?.id !== before || this.targetsError) await this.loadTargets();
  }

  async select(id: WorkspaceId): Promise<void> {
    this.#selected = id;
    this.targets = null;
    try {
      localStorage.setItem(selectedKey, id);
    } catch {
      // Then the choice holds until the page is closed.
    }
    await this.loadTargets();
  }

  /** Asks make; what was known stays on the screen meanwhile. */
  async loadTargets(): Promise<void> {
    const workspace = this.selected;
    const asked = ++this.#asked;
    if (!workspace) {
      this.targets = null;
      return;
    }
    this.targetsLoading = true;
    try {
      const targets = await api.call('listTargets', { params: { workspaceId: workspace.id } });
      if (asked !== this.#asked) return;
      this.targets = targets;
      this.targetsError = null;
    } catch (error) {
      if (asked !== this.#asked) return;
      this.targetsError = asError(error);
      this.targets = null;
    }
    this.targetsLoading = false;
  }

  async add(body: NewWorkspace): Promise<void> {
    const { workspace } = await api.call('addWorkspace', { body });
    await this.load();
    await this.select(workspace.id);
  }

  async change(id: WorkspaceId, body: WorkspaceChange): Promise<void> {
    await api.call('changeWorkspace', { params: { workspaceId: id }, body });
    await this.load();
    await this.loadTargets();
  }

  async remove(id: WorkspaceId): Promise<void> {
    await api.call('removeWorkspace', { params: { workspaceId: id } });
    this.targets = null;
    await this.load();
  }
}

export const workspaces = new Workspaces();
