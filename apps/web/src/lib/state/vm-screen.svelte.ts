import type { VmId } from '@vmo/contract';
import type RFB from '@novnc/novnc';
import { baseUrl } from './api.ts';
import { asError } from './session.svelte.ts';

/** loading: noVNC itself · connecting · live · lost: was live, or never became so. */
export type ScreenPhase = 'loading' | 'connecting' | 'live' | 'lost';

/** X11 calls these keys by numbers; characters of Latin-1 are their own. */
const enterKey = 0xff0d;
const tabKey = 0xff09;
const unicodeBase = 0x01000000;

function keysymOf(character: string): number {
  if (character === '\n' || character === '\r') return enterKey;
  if (character === '\t') return tabKey;
  const code = character.codePointAt(0) ?? 0;
  return code < 0x100 ? code : unicodeBase + code;
}

/** The screen of one machine (VNC), drawn by noVNC, which is loaded for it. */
export class VmScreen {
  phase: ScreenPhase = $state('loading');
  error: Error | null = $state.raw(null);
  readonly #id: VmId;
  #element: HTMLElement | null = null;
  #rfb: RFB | null = null;
  #round = 0;

  constructor(id: VmId) {
    this.#id = id;
  }

  /** Draws into this element until stopped. */
  start(element: HTMLElement): () => void {
    this.#element = element;
    void this.connect();
    return () => {
      this.#round += 1;
      this.#rfb?.disconnect();
      this.#rfb = null;
      this.#element = null;
    };
  }

  /** Also the way to try again. */
  async connect(): Promise<void> {
    const round = ++this.#round;
    this.error = null;
    try {
      const { default: Rfb } = await import('@novnc/novnc');
      const element = this.#element;
      if (round !== this.#round || !element) return;
      this.#rfb?.disconnect();
      this.phase = 'connecting';
      const url = `${baseUrl.replace(/^http/, 'ws')}/api/v1/vms/${this.#id}/vnc`;
      const rfb = (this.#rfb = new Rfb(element, url, { shared: true, wsProtocols: ['binary'] }));
      rfb.scaleViewport = true;
      rfb.showDotCursor = true;
      rfb.background = 'transparent';
      rfb.addEventListener('connect', () => {
        if (rfb !== this.#rfb) return;
        this.phase = 'live';
        rfb.focus();
      });
      rfb.addEventListener('securityfailure', ({ detail }) => {
        this.error = new Error(detail.reason ?? 'The screen wants a password, which it should not.');
      });
      rfb.addEventListener('disconnect', ({ detail }) => {
        if (rfb !== this.#rfb) return;
        this.#rfb = null;
        this.error ??= new Error(
          detail.clean
            ? 'The screen was closed: the machine has stopped, or the server has.'
            : this.phase === 'live'
              ? 'The connection to the screen broke off.'
              : 'The screen does not answer. It takes a moment after a start; then try again.',
        );
        this.phase = 'lost';
      });
    } catch (error) {
      if (round !== this.#round) return;
      this.error = asError(error);
      this.phase = 'lost';
    }
  }

  ctrlAltDel(): void {
    this.#rfb?.sendCtrlAltDel();
    this.#rfb?.focus();
  }

  /** Types it, character by character: a guest without an agent has no clipboard. */
  paste(text: string): void {
    const rfb = this.#rfb;
    if (!rfb) return;
    rfb.clipboardPasteFrom(text);
    for (const character of text.replace(/\r\n/g, '\n')) rfb.sendKey(keysymOf(character), null);
    rfb.focus();
  }
}
