import type { Terminal } from '@xterm/headless';
import { cellAttributes, internalsOf, type Attributes, type BufferState } from './screen-internals.ts';

/** For tests: writes and waits until it is drawn. */
export const write = (terminal: Terminal, data: string): Promise<void> =>
  new Promise((resolve) => {
    terminal.write(data, resolve);
  });

function look(a: Attributes, withUnderline = true): string {
  const underline =
    withUnderline && a.isUnderline()
      ? `${String(a.getUnderlineStyle())},${String(a.getUnderlineColor())}`
      : '';
  const flags = [a.isBold(), a.isDim(), a.isItalic(), a.isBlink(), a.isInverse(), a.isInvisible()].map(
    Boolean,
  );
  const rest = [
    a.isStrikethrough(),
    a.isOverline(),
    a.isFgRGB(),
    a.isFgPalette(),
    a.isBgRGB(),
    a.isBgPalette(),
  ];
  const bits = [...flags, ...rest.map(Boolean)].map(Number).join('');
  return `${bits}/${String(a.getFgColor())}/${String(a.getBgColor())}/${underline}`;
}

function bufferOf(terminal: Terminal, which: 'normal' | 'alternate', blanks: boolean) {
  const buffer = terminal.buffer[which];
  return Array.from({ length: buffer.length }, (_, row) => {
    const line = buffer.getLine(row);
    const cells = Array.from({ length: terminal.cols }, (__, column) => {
      const found = line?.getCell(column);
      if (!found) return '';
      const cell = cellAttributes(found);
      const link = internalsOf(terminal)._oscLinkService.getLinkData(cell.extended.urlId);
      const chars = cell.getChars() || (blanks && cell.getWidth() > 0 ? ' ' : '');
      return `${chars}|${look(cell)}|${link?.uri ?? ''}`;
    });
    return { wrapped: row > 0 && line?.isWrapped === true, cells };
  });
}

function stateOfBuffer(terminal: Terminal, state: BufferState) {
  return {
    x: state.x,
    y: state.y,
    margins: [state.scrollTop, state.scrollBottom],
    tabs: Object.keys(state.tabs).filter(
      (column) => state.tabs[Number(column)] && Number(column) < terminal.cols,
    ),
    saved: [
      Math.min(state.savedX, terminal.cols - 1),
      Math.min(Math.max(state.savedY - state.ybase, 0), terminal.rows - 1),
      look(state.savedCurAttrData, false), // the style of an underline is not saved
      state.savedCharset?.q,
    ],
  };
}

/**
 * For tests: everything that a terminal shows, and everything that decides how later output looks. 'visible': an
 * erased cell and a blank are the same.
 */
export function stateOf(terminal: Terminal, exactness: 'exact' | 'visible' = 'exact') {
  const { buffers, coreService, coreMouseService, _inputHandler, _charsetService } = internalsOf(terminal);
  const active = terminal.buffer.active.type;
  const blanks = exactness === 'visible';
  return {
    active,
    normal: bufferOf(terminal, 'normal', blanks),
    alternate: active === 'alternate' ? bufferOf(terminal, 'alternate', blanks) : null,
    normalState: stateOfBuffer(terminal, buffers.normal),
    alternateState: active === 'alternate' ? stateOfBuffer(terminal, buffers.alt) : null,
    attributes: look(_inputHandler._curAttrData),
    title: _inputHandler._windowTitle,
    modes: { ...coreService.decPrivateModes, cursorBlink: Boolean(coreService.decPrivateModes.cursorBlink) },
    insert: coreService.modes.insertMode,
    hidden: coreService.isCursorHidden,
    mouse: [coreMouseService.activeProtocol, coreMouseService.activeEncoding],
    charsets: [_charsetService.glevel, ..._charsetService._charsets.map((charset) => charset?.q)].filter(
      (charset) => charset !== undefined,
    ),
  };
}
