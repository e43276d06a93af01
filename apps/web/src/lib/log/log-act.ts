import { isFinal, type Job } from '@vmo/contract';
import { isForeignServer } from '../state/api.ts';
import { preferences } from '../state/preferences.svelte.ts';
import type { LogAction } from './log-keys.ts';
import type { LogView } from './log-view.svelte.ts';

/** What an action of the log needs of the component that shows it. */
export interface LogControls {
  view: LogView;
  job: Job;
  /** The find bar: opens it, or closes it when it was a button in it that was pressed. */
  find: () => void;
  isFinding: boolean;
  askForLine: () => void;
  /** Shows a line and puts it into the address. */
  goTo: (number: number) => void;
}

/** Does what a key or a button of the log stands for. */
export function act(action: LogAction, { view, job, ...controls }: LogControls): void {
  switch (action) {
    case 'find':
      controls.find();
      break;
    case 'next':
    case 'previous':
      if (!controls.isFinding) controls.find();
      else view.step(action === 'next' ? 1 : -1);
      break;
    case 'follow':
      view.toEnd();
      break;
    case 'top':
      view.toStart();
      break;
    case 'line':
      controls.askForLine();
      break;
    case 'pause':
      if (view.paused || !isFinal(job.status)) view.togglePause();
      break;
    case 'problem':
    case 'problemBefore': {
      const number = view.nextProblem(action === 'problem' ? 1 : -1);
      if (number !== null) controls.goTo(number);
      break;
    }
    case 'fold':
      view.foldAll();
      break;
    case 'wrap':
      preferences.wrap = !preferences.wrap;
      break;
    case 'timestamps':
      preferences.timestamps = !preferences.timestamps;
      break;
    case 'stdout':
    case 'stderr':
    case 'system':
      view.toggleStream(action);
      break;
    case 'boot':
    case 'command':
      // Only machines have them; nobody shall hide by a slip of a key what the bar does not show.
      if (job.type === 'vm') view.toggleStream(action);
      break;
    case 'copy':
      void view.actions.copyAll(job);
      break;
    case 'download':
      void view.actions.save(job, isForeignServer);
      break;
    case 'cancel':
      void view.actions.cancel();
      break;
  }
}
