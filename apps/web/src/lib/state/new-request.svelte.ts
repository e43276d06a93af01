import {
  defaultRequestTimeout,
  GuestLogin,
  maxBatchSize,
  type BatchId,
  type NewBatch,
  type NewRequest,
  type RequestChannel,
  type RequestId,
} from '@vmo/contract';
import { SvelteSet } from 'svelte/reactivity';
import { submitCalls } from '../request-words.ts';
import { parseEnv } from '../shell.ts';
import { api, baseUrl } from './api.ts';
import { storage } from './storage.svelte.ts';
import { smallGuestName } from './try-request.svelte.ts';
import { vms } from './vms.svelte.ts';

/** steps: the lines are commands of one request · script: the text is one command · each: each line is a request of its own. */
export type Reading = 'steps' | 'script' | 'each';

export interface Candidate {
  name: string;
  kind: 'template' | 'image' | 'machine';
}

export const newRequestFields = [
  'vm_name',
  'vm_names',
  'commands',
  'timeout',
  'env',
  'artifacts',
  'labels',
  'priority',
  'retry',
  'channel',
  'login',
  'login.user',
  'login.password',
] as const;

const linesOf = (text: string): string[] =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
const isWhole = (text: string, least: number, most: number): boolean =>
  /^-?\d+$/.test(text.trim()) && Number(text) >= least && Number(text) <= most;

/** Requests that are about to be submitted. */
export class NewRequestForm {
  readonly vmNames = new SvelteSet<string>();
  commands = $state('');
  reading: Reading = $state('steps');
  timeout = $state(String(defaultRequestTimeout));
  /** Lines of NAME=value; so are the labels. */
  env = $state('');
  labels = $state('');
  /** Paths, one a line. */
  artifacts = $state('');
  priority = $state('0');
  retry = $state('0');
  /** Empty: the best that answers. */
  channel: RequestChannel | '' = $state('');
  /** Empty: as the machine says. */
  loginUser = $state('');
  loginPassword = $state('');
  warm = $state(false);
  keepOnFailure = $state(false);
  keepGoing = $state(false);
  hold = $state(false);

  /** What a name can mean, each once; templates come first, as for the server. */
  readonly candidates: readonly Candidate[] = $derived.by(() => {
    void vms.members;
    const templates = storage.templates.filter(({ reason }) => reason === null).map(({ name }) => name);
    const images = storage.images
      .filter(({ kind, state }) => kind === 'disk' && state === 'ready')
      .map(({ name }) => name);
    const machines = [...vms.values()].filter(({ status }) => status === 'stopped').map(({ name }) => name);
    const found = new Map<string, Candidate>();
    const add = (kind: Candidate['kind'], names: readonly string[]): void => {
      for (const name of names) if (!found.has(name)) found.set(name, { name, kind });
    };
    add('template', [smallGuestName, ...templates]);
    add('image', images);
    add('machine', machines);
    return [...found.values()];
  });

  /** The commands of each request. */
  readonly requests: readonly (readonly string[])[] = $derived.by(() => {
    if (this.reading === 'script') return this.commands.trim() === '' ? [] : [[this.commands.trimEnd()]];
    const lines = linesOf(this.commands);
    if (lines.length === 0) return [];
    return this.reading === 'each' ? lines.map((line) => [line]) : [lines];
  });

  readonly count: number = $derived(this.vmNames.size * this.requests.length);

  /** What is wrong with what was typed, before the server is asked; by field. */
  readonly wrong: Readonly<Record<string, string>> = $derived.by(() => {
    const found: Record<string, string> = {};
    const env = parseEnv(this.env);
    const labels = this.#labels;
    if ('wrong' in env) found.env = `not NAME=value: ${env.wrong}`;
    if (labels === null) found.labels = 'write name=value, one a line';
    if (!isWhole(this.timeout, 1, 86_400)) found.timeout = 'whole seconds';
    if (!isWhole(this.priority, -100, 100)) found.priority = 'from -100 to 100';
    if (!isWhole(this.retry, 0, 5)) found.retry = 'from 0 to 5';
    if (linesOf(this.artifacts).some((path) => !path.startsWith('/')))
      found.artifacts = 'absolute paths, one a line';
    Object.assign(found, this.#loginWrong);
    if (this.count > maxBatchSize)
      found.commands = `${String(this.count)} requests; a batch has at most ${String(maxBatchSize)}`;
    return found;
  });

  get isReady(): boolean {
    return this.count > 0 && Object.keys(this.wrong).length === 0;
  }

  get #labels(): Record<string, string> | null {
    const found: Record<string, string> = {};
    for (const line of linesOf(this.labels)) {
      const at = line.indexOf('=');
      if (at < 1) return null;
      found[line.slice(0, at)] = line.slice(at + 1);
    }
    return found;
  }

  get #login(): { user: string; password?: string } | null {
    const user = this.loginUser.trim();
    if (user === '') return null;
    return { user, ...(this.loginPassword === '' ? {} : { password: this.loginPassword }) };
  }

  get #loginWrong(): Record<string, string> {
    const login = this.#login;
    if (login === null) return this.loginPassword === '' ? {} : { 'login.user': 'whose password this is' };
    const issues = GuestLogin.safeParse(login).error?.issues ?? [];
    return Object.fromEntries(issues.map(({ path, message }) => [`login.${path.join('.')}`, message]));
  }

  get #env(): Record<string, string> {
    const read = parseEnv(this.env);
    return 'env' in read ? read.env : {};
  }

  /** What differs from what is meant without a word. */
  get #options() {
    const timeout = Number(this.timeout);
    const env = this.#env;
    const labels = this.#labels ?? {};
    const artifacts = linesOf(this.artifacts);
    return {
      ...(timeout === defaultRequestTimeout ? {} : { timeout }),
      ...(Object.keys(env).length > 0 ? { env } : {}),
      ...(artifacts.length > 0 ? { artifacts } : {}),
      ...(Object.keys(labels).length > 0 ? { labels } : {}),
      ...(Number(this.priority) === 0 ? {} : { priority: Number(this.priority) }),
      ...(Number(this.retry) === 0 ? {} : { retry: Number(this.retry) }),
      ...(this.channel === '' ? {} : { channel: this.channel }),
      ...(this.#login ? { login: this.#login } : {}),
      ...(this.warm ? { warm: true } : {}),
      ...(this.keepOnFailure ? { keep_on_failure: true } : {}),
      ...(this.keepGoing ? { stop_on_failure: false } : {}),
      ...(this.hold ? { hold: true } : {}),
    };
  }

  get #isBatch(): boolean {
    return this.vmNames.size > 1 || this.requests.length > 1;
  }

  get #one(): NewRequest {
    const [vm = ''] = this.vmNames;
    const [commands = []] = this.requests;
    return { vm_name: vm, commands: bare(commands), ...this.#options };
  }

  get #batch(): NewBatch {
    return { vm_names: [...this.vmNames], commands: this.requests.map(bare), ...this.#options };
  }

  /** The same, for a shell. */
  get vmo(): string {
    const timeout = Number(this.timeout);
    return submitCalls({
      vms: [...this.vmNames],
      requests: this.requests,
      timeout: timeout === defaultRequestTimeout ? null : timeout,
      env: this.#env,
      artifacts: linesOf(this.artifacts),
      labels: this.#labels ?? {},
      priority: Number(this.priority),
      retry: Number(this.retry),
      channel: this.channel === '' ? null : this.channel,
      login: this.#login,
      warm: this.warm,
      keepOnFailure: this.keepOnFailure,
      keepGoing: this.keepGoing,
      hold: this.hold,
    });
  }

  get curl(): string {
    const body = JSON.stringify(this.#isBatch ? this.#batch : this.#one).replaceAll("'", `'\\''`);
    return [
      `curl -sS -X POST ${baseUrl}/api/v1/requests${this.#isBatch ? '/batch' : ''} \\`,
      `  -H "Authorization: Bearer $TOKEN" \\`,
      `  -H 'Content-Type: application/json' \\`,
      `  -d '${body}'`,
    ].join('\n');
  }

  /** @throws as the server said it */
  async save(): Promise<{ uuid: RequestId } | { batch: BatchId }> {
    if (!this.#isBatch) {
      const { uuid } = await api.call('submitRequest', { body: this.#one });
      return { uuid };
    }
    const { batch } = await api.call('submitBatch', { body: this.#batch });
    return { batch };
  }
}

const bare = (commands: readonly string[]): string | string[] => {
  const [only = '', ...more] = commands;
  return more.length === 0 ? only : [...commands];
};
