import type { Job } from '@vmo/contract';
import { jobs } from './jobs.svelte.ts';
import { preferences } from './preferences.svelte.ts';
import { view } from './view.svelte.ts';
import { statusWords } from '../status.ts';

type Mark = 'idle' | 'running' | 'failed';

/** What somebody sees who is in another tab or program: title, icon, notifications. */
class Attention {
  /** A job ended badly while nobody looked. */
  #unseenFailures = $state(0);

  mark: Mark = $derived(this.#unseenFailures > 0 ? 'failed' : jobs.active.length > 0 ? 'running' : 'idle');

  title: string = $derived.by(() => {
    const running = jobs.active.length;
    const shown = view.job ? jobs.get(view.job) : undefined;
    const front =
      this.#unseenFailures > 0
        ? `✕ ${String(this.#unseenFailures)} failed · `
        : running > 0
          ? `● ${String(running)} · `
          : '';
    return `${front}${shown ? `${shorten(shown.command, 40)} · ` : ''}VM-Orchestrator`;
  });

  start(): () => void {
    const seen = (): void => {
      if (!document.hidden) this.#unseenFailures = 0;
    };
    const stop = jobs.onEnded((job) => this.#ended(job));
    document.addEventListener('visibilitychange', seen);
    return () => {
      stop();
      document.removeEventListener('visibilitychange', seen);
    };
  }

  /** Asks the browser for its leave; the preference follows the answer. */
  async allowNotifications(wanted: boolean): Promise<void> {
    preferences.notifications = wanted && (await Notification.requestPermission()) === 'granted';
  }

  #ended(job: Job): void {
    if (!document.hidden) return;
    if (job.status !== 'done' && job.status !== 'cancelled') this.#unseenFailures += 1;
    if (
      !preferences.notifications ||
      typeof Notification === 'undefined' ||
      Notification.permission !== 'granted'
    )
      return;
    const note = new Notification(`${statusWords[job.status]}: ${shorten(job.command, 80)}`, {
      body: job.exitCode === null ? (job.reason ?? '') : `exit ${String(job.exitCode)}`,
      icon: `/icons/${job.status === 'done' ? 'idle' : 'failed'}.svg`,
      tag: job.id,
    });
    note.onclick = () => {
      focus();
      view.open(job.id);
      note.close();
    };
  }
}

function shorten(text: string, length: number): string {
  const line = text.split('\n', 1)[0] ?? '';
  return line.length > length ? `${line.slice(0, length - 1)}…` : line;
}

export const attention = new Attention();
