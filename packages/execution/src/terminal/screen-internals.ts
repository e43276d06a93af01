import type { IBufferCell, Terminal } from '@xterm/headless';

/**
 * What the terminal's public interface does not tell and a screen cannot be drawn again without. Every name was looked
 * up in @xterm/headless 6.0.0; `screen.test.ts` compares whole states, so that an upgrade that moves one is noticed.
 */
export interface Attributes {
  fg: number;
  bg: number;
  isInverse(): number;
  isBold(): number;
  isDim(): number;
  isItalic(): number;
  isUnderline(): number;
  isBlink(): number;
  isInvisible(): number;
  isStrikethrough(): number;
  isOverline(): number;
  isFgRGB(): boolean;
  isBgRGB(): boolean;
  isFgPalette(): boolean;
  isBgPalette(): boolean;
  getFgColor(): number;
  getBgColor(): number;
  getUnderlineStyle(): number;
  getUnderlineColor(): number;
  isUnderlineColorRGB(): boolean;
  isUnderlineColorPalette(): boolean;
  clone(): Attributes;
  extended: { urlId: number };
}

type Charset = Record<string, string> | undefined;

export interface BufferState {
  x: number;
  y: number;
  ybase: number;
  savedX: number;
  savedY: number;
  savedCurAttrData: Attributes;
  savedCharset: Charset;
  scrollTop: number;
  scrollBottom: number;
  tabs: Record<number, boolean | undefined>;
}

export interface Internals {
  buffers: { normal: BufferState; alt: BufferState };
  coreService: {
    isCursorHidden: boolean;
    modes: { insertMode: boolean };
    decPrivateModes: {
      applicationCursorKeys: boolean;
      applicationKeypad: boolean;
      bracketedPasteMode: boolean;
      cursorBlink: boolean | undefined;
      cursorStyle: 'block' | 'underline' | 'bar' | undefined;
      origin: boolean;
      reverseWraparound: boolean;
      sendFocus: boolean;
      wraparound: boolean;
    };
  };
  coreMouseService: { activeProtocol: string; activeEncoding: string };
  _charsetService: { glevel: number; _charsets: Charset[] };
  _inputHandler: { _curAttrData: Attributes; _parser: { currentState: number }; _windowTitle: string };
  _oscLinkService: { getLinkData(urlId: number): { uri: string; id?: string } | undefined };
}

export const internalsOf = (terminal: Terminal): Internals =>
  (terminal as unknown as { _core: Internals })._core;

/** A cell of the buffer: also its attributes. */
export type Cell = IBufferCell & Attributes;
export const cellAttributes = (cell: IBufferCell): Cell => cell as unknown as Cell;

/** Outside every escape sequence (ParserState.GROUND). */
export const isGround = (terminal: Terminal): boolean =>
  internalsOf(terminal)._inputHandler._parser.currentState === 0;
