import { isFinal, type Job } from '@vmo/contract';
import type { Client, JobsConnection } from '@vmo/client';
import { copyText } from '../clipboard.ts';
import { logText } from './copy-log.ts';
import type { LogState } from './log-state.svelte.ts';
import { saveRawLog } from './save.ts';
import { errorWords } from './words.ts';

/** How long (in milliseconds) a short message stays. */
const noticeTime = 5000;

export interface LogActionsOptions {
  state: LogState;
  connection: JobsConnection;
  client: Client;
}

/** What is done with a whole log or its job, and the words that say how it went. */
export class LogActions {
  copied = $state(false);
  cancelling = $state(false);
  notice = $state<string | null>(null);
  readonly #options: LogActionsOptions;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: LogActionsOptions) {
    this.#options = options;
  }

  async copyAll(job: Job): Promise<void> {
    const { client, state } = this.#options;
    try {
      await copyText(await logText({ client, job, store: state.store, streams: state.streams }));
      this.copied = true;
      setTimeout(() => (this.copied = false), 1500);
    } catch (error) {
      this.say(`Not copied: ${errorWords(error)}`);
    }
  }

  async save(job: Job, foreign: boolean): Promise<void> {
    try {
      await saveRawLog(this.#options.client, job, foreign);
    } catch (error) {
      this.say(`Not downloaded: ${errorWords(error)}`);
    }
  }

  async cancel(): Promise<void> {
    const { state, connection } = this.#options;
    if (this.cancelling || (state.job && isFinal(state.job.status))) return;
    this.cancelling = true;
    try {
      const { job } = await connection.command('job:cancel', { jobId: state.jobId });
      state.job = job;
    } catch (error) {
      this.say(`Not cancelled: ${errorWords(error)}`);
    } finally {
      this.cancelling = false;
    }
  }

  say(words: string): void {
    this.notice = words;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => (this.notice = null), noticeTime);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
