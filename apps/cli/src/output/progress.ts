import type { Cli } from '../cli.ts';

const frames = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const frameMs = 100;

export interface Progress {
  /** What goes on now; the same words again change nothing. */
  say(words: string): void;
  /** Takes the line away. */
  end(): void;
}

/** A turning line on the terminal; elsewhere nothing, as the end of it is said anyway. */
export function createProgress({ world: { stderr }, errorPaint }: Cli): Progress {
  if (!stderr.isTTY) return { say: () => undefined, end: () => undefined };
  const began = Date.now();
  let words = '';
  let frame = 0;
  const draw = (): void => {
    const seconds = Math.floor((Date.now() - began) / 1000);
    const time = seconds > 1 ? ` ${errorPaint.dim(`${String(seconds)} s`)}` : '';
    stderr.write(`\r\x1b[K${errorPaint.busy(frames[frame++ % frames.length] ?? '')} ${words}${time}`);
  };
  const timer = setInterval(draw, frameMs);
  return {
    say(next) {
      if (next === words) return;
      words = next;
      draw();
    },
    end() {
      clearInterval(timer);
      stderr.write('\r\x1b[K');
    },
  };
}
