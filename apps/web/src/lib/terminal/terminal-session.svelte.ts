import { FitAddon } from '@xterm/addon-fit';
import { Terminal } from '@xterm/xterm';
import { carryStyle } from '@vmo/ansi';
import { isFinal, maxInputLength, type Job, type JobEvent, type TerminalScreen } from '@vmo/contract';
import type { JobsConnection, JobSubscription } from '@vmo/client';
import { copyText } from '../clipboard.ts';
import { cleanPaste, inputPieces } from './input.ts';
import { allowSpanStyles, nonceDocument, pageNonce } from './nonce-document.ts';
import { terminalTheme } from './terminal-theme.ts';

/** Lines kept above the screen. */
const scrollback = 10_000;
/** Of a console that has said more, the newest is drawn: about what fits above the screen. */
const newestConsoleBytes = 1024 * 1024;
/** The program is told a new size when the window has not changed for this long, in milliseconds. */
const resizePause = 80;
/** A size that could not be measured or told yet – the program is just being started – is tried again after this. */
const resizeRetry = 300;
/** Message kinds of OSC that do something outside the screen: title, icon, working directory, links, clipboard, notes. */
const outsideTheScreen = [0, 1, 2, 7, 8, 9, 52, 99, 633, 777, 1337];

export type TerminalPhase = 'connecting' | 'live' | 'ended';

/**
 * terminal: a program's screen, whose size follows whoever types · serial: the console of a machine, from its first
 * byte; it knows no size.
 */
export type TerminalKind = 'terminal' | 'serial';

/** One terminal job in a page: draws its screen, types into it, resizes it. */
export class TerminalSession {
  phase = $state<TerminalPhase>('connecting');
  inControl = $state(false);
  /** Somebody else has taken control from us. */
  wasTaken = $state(false);
  job = $state.raw<Job | null>(null);
  /** Why the terminal cannot be shown. */
  error = $state.raw<unknown>(null);
  /** Why what was typed did not arrive. */
  inputError = $state.raw<unknown>(null);
  /** Somebody tried to type without being in control. */
  refused = $state(false);
  size = $state.raw({ cols: 80, rows: 24 });
  /** Serial only: what was said before is not drawn here. */
  leftOut = $state(false);

  readonly #initial: Job;
  readonly #connection: JobsConnection;
  readonly #kind: TerminalKind;
  /**
   * Serial only: up to this event it was written before we came. What it asked of a terminal was answered then, or
   * never: an answer now would be typed into whatever runs now.
   */
  #pastSeq = Infinity;
  #isPast = true;
  /** What is drawn first may be the rest of a line, or of an escape sequence. */
  #beginsInside = false;
  readonly #terminal: Terminal;
  readonly #fit = new FitAddon();
  #subscription: JobSubscription | null = null;
  /** What is written goes through here, so that a new screen never overtakes older output. */
  #tail: Promise<void> = Promise.resolve();
  #sending = false;
  /** Typed and not sent yet. */
  #typed = '';
  #resizeTimer: ReturnType<typeof setTimeout> | undefined;
  #refusedTimer: ReturnType<typeof setTimeout> | undefined;
  #toldSize = '';
  readonly #stops: (() => void)[] = [];

  constructor(job: Job, connection: JobsConnection, kind: TerminalKind = 'terminal') {
    this.#initial = job;
    this.#connection = connection;
    this.#kind = kind;
    allowSpanStyles();
    this.#terminal = new Terminal({
      allowProposedApi: false,
      documentOverride: nonceDocument(document, pageNonce()),
      cursorBlink: false,
      fontFamily: "'JetBrains Mono Variable', ui-monospace, 'DejaVu Sans Mono', monospace",
      fontSize: 13,
      lineHeight: 1.2,
      minimumContrastRatio: 4.5,
      scrollback,
      // The program's output may style text; it may not open anything.
      linkHandler: { activate: () => undefined },
      theme: terminalTheme(document.documentElement),
    });
    this.#terminal.loadAddon(this.#fit);
    for (const kind of outsideTheScreen) this.#terminal.parser.registerOscHandler(kind, () => true);
  }

  /** Draws into this element and follows the job; `stop` ends both. */
  start(element: HTMLElement): void {
    const terminal = this.#terminal;
    terminal.open(element);
    const typed = terminal.onData((data) => this.#type(data));
    const binary = terminal.onBinary((data) => this.#type(data));
    terminal.attachCustomKeyEventHandler((event) => this.#ownKey(event));
    const paste = (event: ClipboardEvent): void => {
      event.preventDefault();
      event.stopPropagation();
      terminal.paste(cleanPaste(event.clipboardData?.getData('text/plain') ?? ''));
    };
    element.addEventListener('paste', paste, { capture: true });
    const resizes = new ResizeObserver(() => this.#sizeChanged());
    resizes.observe(element);
    const root = document.documentElement;
    const themes = new MutationObserver(() => (terminal.options.theme = terminalTheme(root)));
    themes.observe(root, { attributeFilter: ['data-theme'] });
    this.#stops.push(
      () => typed.dispose(),
      () => binary.dispose(),
      () => element.removeEventListener('paste', paste, { capture: true }),
      () => resizes.disconnect(),
      () => themes.disconnect(),
    );
    void document.fonts.ready.then(() => this.#sizeChanged());
    this.follow();
  }

  /** Begins to follow; also the way to try again after an error. */
  follow(): void {
    this.error = null;
    this.#subscription?.close();
    const isSerial = this.#kind === 'serial';
    let begun = false;
    this.#subscription = this.#connection.followJob({
      jobId: this.#initial.id,
      ...(isSerial ? { newestBytes: newestConsoleBytes } : {}),
      // Of a console there is no screen, only its first byte and all that follow; but somebody is here to type.
      screen: true,
      onSubscribed: ({ job, lastSeq, leftOut, screen, inControl }) => {
        if (isSerial && !begun) this.#beginConsole(leftOut > 0);
        begun = true;
        this.job = job;
        this.#pastSeq = lastSeq;
        if (lastSeq === 0) this.#isPast = false;
        this.inControl = inControl;
        this.phase = isFinal(job.status) ? 'ended' : 'live';
        this.#tail = this.#tail.then(() => this.#drawScreen(screen));
      },
      onEvents: (events) => (this.#tail = this.#tail.then(() => this.#draw(events))),
      onStatus: (job) => (this.job = job),
      onControl: (inControl) => {
        this.wasTaken = !inControl;
        this.inControl = inControl;
        if (inControl) this.#takeSize();
      },
      onResized: ({ cols, rows }) => {
        this.#tail = this.#tail.then(() => {
          this.#terminal.resize(cols, rows);
          this.#noteSize();
        });
      },
      onDone: () => {
        this.phase = 'ended';
        this.inControl = false;
        // The program is gone and so is its cursor.
        this.#terminal.write('\x1b[?25l');
      },
      onError: (error) => (this.error = error),
    });
  }

  /** Also the second time, after an error: nothing is drawn twice. */
  #beginConsole(leftOut: boolean): void {
    this.leftOut = leftOut;
    this.#isPast = true;
    this.#tail = this.#tail.then(() => {
      this.#terminal.reset();
      this.#beginsInside = leftOut;
    });
  }

  async #drawScreen(screen: TerminalScreen | null): Promise<void> {
    const terminal = this.#terminal;
    if (screen) {
      await write(terminal, '\x1bc');
      terminal.resize(screen.cols, screen.rows);
      await write(terminal, screen.data);
      this.#noteSize();
    } else if (this.phase === 'ended' || this.#kind === 'serial') this.#fitHere();
    // Only now: a size that was told while we waited has been undone by the screen's own.
    this.#toldSize = '';
    if (this.inControl) this.#takeSize();
  }

  /** Resolves when all is on the screen, which is when it is acknowledged. */
  async #draw(events: readonly JobEvent[]): Promise<void> {
    // The cockpit's own words stand in the log, not on the program's screen.
    const output = events.filter(({ stream }) =>
      this.#kind === 'serial' ? stream === 'boot' : stream !== 'system',
    );
    await Promise.all(output.map((event) => write(this.#terminal, this.#fromLineStart(event))));
    if ((events.at(-1)?.seq ?? 0) >= this.#pastSeq) this.#isPast = false;
  }

  #fromLineStart({ chunk, style }: JobEvent): string {
    if (!this.#beginsInside) return chunk;
    this.#beginsInside = false;
    const from = chunk.indexOf('\n') + 1;
    return carryStyle(style, chunk.slice(0, from)) + chunk.slice(from);
  }

  #type(data: string): void {
    if (this.phase !== 'live' || (this.#kind === 'serial' && this.#isPast)) return;
    if (!this.inControl) {
      this.refused = true;
      clearTimeout(this.#refusedTimer);
      this.#refusedTimer = setTimeout(() => (this.refused = false), 600);
      return;
    }
    this.#typed += data;
    void this.#send();
  }

  /** One message at a time, so that they cannot overtake each other; what is typed meanwhile goes with the next. */
  async #send(): Promise<void> {
    if (this.#sending) return;
    this.#sending = true;
    while (this.#typed !== '') {
      const typed = this.#typed;
      this.#typed = '';
      try {
        for (const data of inputPieces(typed, maxInputLength)) {
          await this.#connection.command('job:input', { jobId: this.#initial.id, data });
        }
        this.inputError = null;
      } catch (error) {
        // What was typed after it may depend on what was lost.
        this.#typed = '';
        this.inputError = error;
      }
    }
    this.#sending = false;
  }

  /** @returns false for keys that are not the program's. */
  #ownKey(event: KeyboardEvent): boolean {
    if (event.type !== 'keydown' || !event.ctrlKey || !event.shiftKey) return true;
    if (event.code === 'KeyC') {
      event.preventDefault();
      const text = this.#terminal.getSelection();
      if (text !== '') void copyText(text).catch(() => undefined);
      return false;
    }
    // The browser pastes.
    if (event.code === 'KeyV') return false;
    if (event.code === 'F6') {
      this.#terminal.blur();
      return false;
    }
    return true;
  }

  #sizeChanged(pause = resizePause): void {
    clearTimeout(this.#resizeTimer);
    this.#resizeTimer = setTimeout(() => {
      if (this.#kind === 'serial') this.#fitHere();
      else if (this.inControl && this.phase === 'live') this.#takeSize();
      else if (this.phase === 'ended' && this.#toldSize === '') this.#fit.fit();
    }, pause);
  }

  /** As large as the place allows, told to nobody. */
  #fitHere(): void {
    this.#fit.fit();
    this.#noteSize();
  }

  /** Whoever types decides how big the screen is. */
  #takeSize(): void {
    if (this.#kind === 'serial') return;
    const wanted = this.#fit.proposeDimensions();
    if (!wanted || !Number.isFinite(wanted.cols) || !Number.isFinite(wanted.rows)) {
      this.#sizeChanged(resizeRetry);
      return;
    }
    const cols = Math.min(1000, Math.max(2, wanted.cols));
    const rows = Math.min(1000, Math.max(2, wanted.rows));
    const size = `${String(cols)}×${String(rows)}`;
    if (size === this.#toldSize) return;
    this.#toldSize = size;
    this.#terminal.resize(cols, rows);
    this.#noteSize();
    this.#connection.command('job:resize', { jobId: this.#initial.id, cols, rows }).catch(() => {
      this.#toldSize = '';
      this.#sizeChanged(resizeRetry);
    });
  }

  #noteSize(): void {
    this.size = { cols: this.#terminal.cols, rows: this.#terminal.rows };
  }

  /** Becomes the one who types. */
  async takeControl(): Promise<void> {
    try {
      await this.#connection.command('job:take-control', { jobId: this.#initial.id });
      this.inputError = null;
      this.#terminal.focus();
    } catch (error) {
      this.inputError = error;
    }
  }

  async cancel(): Promise<void> {
    try {
      const { job } = await this.#connection.command('job:cancel', { jobId: this.#initial.id });
      this.job = job;
    } catch (error) {
      this.inputError = error;
    }
  }

  focus(): void {
    this.#terminal.focus();
  }

  /** Types for the person, as a command that a button stands for. */
  send(text: string): void {
    this.#type(text);
    this.#terminal.focus();
  }

  stop(): void {
    clearTimeout(this.#resizeTimer);
    clearTimeout(this.#refusedTimer);
    this.#subscription?.close();
    for (const stop of this.#stops) stop();
    this.#terminal.dispose();
  }
}

function write(terminal: Terminal, data: string): Promise<void> {
  return new Promise((resolve) => {
    terminal.write(data, resolve);
  });
}
