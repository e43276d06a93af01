import type { IBuffer, IBufferLine, Terminal } from '@xterm/headless';
import {
  cellAttributes,
  internalsOf,
  type Attributes,
  type BufferState,
  type Cell,
  type Internals,
} from './screen-internals.ts';

const csi = '\u001b[';

/**
 * What, written into a fresh terminal of the same size, gives the same screen: scrollback, both buffers, cursor, and
 * everything that decides what later output does (margins, modes, saved cursor, tab stops, attributes, character
 * sets, mouse reporting). The serialize addon (0.14) leaves most of that state out, puts the cursor one column left
 * after a full row (xterm.js issue 6165), and turns bold after dim into neither; a screen drawn so goes wrong
 * with the next byte of output.
 */
export function serializeTerminal(terminal: Terminal): string {
  const internals = internalsOf(terminal);
  const { normal, alt } = internals.buffers;
  let text = serializeBuffer(terminal, terminal.buffer.normal, internals);
  text += serializeState(terminal, terminal.buffer.normal, normal, internals);
  if (terminal.buffer.active.type === 'alternate') {
    text += `${csi}0m${csi}?1047h${csi}H`;
    text += serializeBuffer(terminal, terminal.buffer.alternate, internals);
    text += serializeState(terminal, terminal.buffer.alternate, alt, internals);
  }
  return text + serializeCharsets(internals) + serializeModes(internals);
}

function serializeBuffer(terminal: Terminal, buffer: IBuffer, internals: Internals): string {
  const writer = new RowWriter(terminal.cols, internals);
  let previous: IBufferLine | undefined;
  for (let row = 0; row < buffer.length; row++) {
    const line = buffer.getLine(row);
    if (!line) break;
    if (previous) writer.nextRow(previous, line);
    writer.cells(line, 0);
    previous = line;
  }
  return writer.finish();
}

/** Writes rows from left to right, with the attributes that are in force kept in mind. */
class RowWriter {
  readonly #cols: number;
  readonly #internals: Internals;
  #text = '';
  #sgr = '0';
  #link = '';

  constructor(cols: number, internals: Internals) {
    this.#cols = cols;
    this.#internals = internals;
  }

  /** Moves to the beginning of the next row, by a line feed or by the wrap of a full row. */
  nextRow(previous: IBufferLine, line: IBufferLine): void {
    this.#style('0', '');
    if (!line.isWrapped) {
      this.#text += '\r\n';
      return;
    }
    // Only printing wraps. Two blanks do it; then the last cell of the full row gets what stood there.
    const last = previous.getCell(this.#cols - 1)?.getWidth() === 0 ? this.#cols - 2 : this.#cols - 1;
    this.#text += `${csi}${String(this.#cols)}G  ${csi}A${csi}${String(last + 1)}G${csi}2X`;
    this.cells(previous, last);
    this.#style('0', '');
    this.#text += `${csi}B\r${csi}X`;
  }

  /** Writes the cells of a row from column `from` on, where the cursor must be. */
  cells(line: IBufferLine, from: number): void {
    let skipped = 0;
    for (let column = from; column < this.#cols; column++) {
      const found = line.getCell(column);
      if (!found) break;
      const cell = cellAttributes(found);
      if (cell.getWidth() === 0) continue;
      if (cell.getChars() === '' && isPlainErased(cell)) {
        if (cell.bg !== 0) {
          this.#text += forward(skipped);
          skipped = 0;
          this.#style(attributesOf(cell), '');
          this.#text += `${csi}X`;
        }
        skipped += 1;
        continue;
      }
      this.#text += forward(skipped);
      skipped = 0;
      this.#style(attributesOf(cell), this.#linkOf(cell));
      this.#text += cell.getChars() || ' ';
    }
  }

  finish(): string {
    this.#style('0', '');
    return this.#text;
  }

  #linkOf(cell: Cell): string {
    const { urlId } = cell.extended;
    const link = urlId > 0 ? this.#internals._oscLinkService.getLinkData(urlId) : undefined;
    return link ? `${link.id === undefined ? '' : `id=${link.id}`};${link.uri}` : '';
  }

  #style(sgr: string, link: string): void {
    if (link !== this.#link) this.#text += `\u001b]8;${link || ';'}\u001b\\`;
    this.#link = link;
    if (sgr !== this.#sgr) this.#text += `${csi}${sgr}m`;
    this.#sgr = sgr;
  }
}

const forward = (columns: number): string => (columns > 0 ? `${csi}${String(columns)}C` : '');

/** Erased cells have a background only. What lost its character otherwise (half of a wide one) is written as a blank. */
function isPlainErased(cell: Cell): boolean {
  const colorOnly = 0x3000000 | 0xffffff;
  return cell.fg === 0 && (cell.bg & ~colorOnly) === 0;
}

/** Every attribute, from a clean slate: what is in force before does not matter. */
function attributesOf(a: Attributes): string {
  const words = ['0'];
  if (a.isBold()) words.push('1');
  if (a.isDim()) words.push('2');
  if (a.isItalic()) words.push('3');
  if (a.isUnderline()) words.push(`4:${String(a.getUnderlineStyle())}`);
  if (a.isBlink()) words.push('5');
  if (a.isInverse()) words.push('7');
  if (a.isInvisible()) words.push('8');
  if (a.isStrikethrough()) words.push('9');
  if (a.isOverline()) words.push('53');
  if (a.isFgRGB()) words.push(`38;2;${rgb(a.getFgColor())}`);
  else if (a.isFgPalette()) words.push(`38;5;${String(a.getFgColor())}`);
  if (a.isBgRGB()) words.push(`48;2;${rgb(a.getBgColor())}`);
  else if (a.isBgPalette()) words.push(`48;5;${String(a.getBgColor())}`);
  if (a.isUnderline() && a.isUnderlineColorRGB())
    words.push(`58:2::${rgb(a.getUnderlineColor()).replaceAll(';', ':')}`);
  else if (a.isUnderline() && a.isUnderlineColorPalette())
    words.push(`58:5:${String(a.getUnderlineColor() & 0xff)}`);
  return words.join(';');
}

const rgb = (color: number): string =>
  [(color >>> 16) & 0xff, (color >>> 8) & 0xff, color & 0xff].map(String).join(';');

/** Tab stops, saved cursor, margins, cursor and current attributes of one buffer, which must be the active one. */
function serializeState(
  terminal: Terminal,
  buffer: IBuffer,
  state: BufferState,
  internals: Internals,
): string {
  const { cols, rows } = terminal;
  const position = (x: number, y: number) => `${csi}${String(y + 1)};${String(x + 1)}H`;
  let text = `${csi}0m`;

  const stops = Array.from({ length: cols }, (_, column) => column).filter((column) => state.tabs[column]);
  if (stops.join() !== Array.from({ length: Math.ceil(cols / 8) }, (_, index) => index * 8).join()) {
    text += `${csi}3g`;
    for (const column of stops) text += `${position(column, 0)}\u001bH`;
  }

  const savedRow = Math.max(state.savedY - state.ybase, 0);
  const saved = attributesOf(state.savedCurAttrData);
  if (state.savedX > 0 || savedRow > 0 || saved !== '0' || state.savedCharset) {
    if (state.savedCharset) text += '\u001b(0';
    text += `${position(Math.min(state.savedX, cols - 1), Math.min(savedRow, rows - 1))}${csi}${saved}m\u001b7${csi}0m`;
    if (state.savedCharset) text += '\u001b(B';
  }

  if (state.scrollTop !== 0 || state.scrollBottom !== rows - 1)
    text += `${csi}${String(state.scrollTop + 1)};${String(state.scrollBottom + 1)}r`;

  // Origin mode belongs to the terminal, not to the buffer: it is on for the one that is drawn last.
  const origin = internals.coreService.decPrivateModes.origin && buffer.type === terminal.buffer.active.type;
  if (origin) text += `${csi}?6h`;
  text += position(Math.min(state.x, cols - 1), origin ? state.y - state.scrollTop : state.y);
  if (state.x >= cols) text += pendingWrap(buffer, state, cols);
  return `${text}${csi}${attributesOf(internals._inputHandler._curAttrData)}m`;
}

/** Behind the last column, where the next character wraps: only printing gets there, so the last one is printed again. */
function pendingWrap(buffer: IBuffer, state: BufferState, cols: number): string {
  const line = buffer.getLine(state.ybase + state.y);
  const last = line?.getCell(cols - 1);
  const wide = last?.getWidth() === 0;
  const found = wide ? line?.getCell(cols - 2) : last;
  if (!found) return '';
  const cell = cellAttributes(found);
  return `${wide ? '\b' : ''}${csi}${attributesOf(cell)}m${cell.getChars() || ' '}`;
}

function serializeCharsets({ _charsetService: service }: Internals): string {
  const designators = ['(', ')', '*', '+'];
  let text = '';
  for (const [level, designator] of designators.entries()) {
    // Line drawing is the one that programs use; the national ones differ in a few signs.
    if (service._charsets[level]?.q === '─') text += `\u001b${designator}0`;
  }
  return text + (['', '\u000e', '\u001bn', '\u001bo'][service.glevel] ?? '');
}

const mouseModes: Readonly<Record<string, string>> = { X10: '9', VT200: '1000', DRAG: '1002', ANY: '1003' };
const mouseEncodings: Readonly<Record<string, string>> = { SGR: '1006', SGR_PIXELS: '1016' };
const cursorStyles = { block: 1, underline: 3, bar: 5 };

function serializeModes({ coreService, coreMouseService, _inputHandler }: Internals): string {
  const modes = coreService.decPrivateModes;
  const set: (string | undefined | false)[] = [
    modes.applicationCursorKeys && '1',
    modes.applicationKeypad && '66',
    modes.bracketedPasteMode && '2004',
    modes.reverseWraparound && '45',
    modes.sendFocus && '1004',
    mouseModes[coreMouseService.activeProtocol],
    mouseEncodings[coreMouseService.activeEncoding],
  ];
  let text = set.map((mode) => (mode ? `${csi}?${mode}h` : '')).join('');
  if (coreService.modes.insertMode) text += `${csi}4h`;
  if (!modes.wraparound) text += `${csi}?7l`;
  if (coreService.isCursorHidden) text += `${csi}?25l`;
  if (modes.cursorStyle)
    text += `${csi}${String(cursorStyles[modes.cursorStyle] + (modes.cursorBlink ? 0 : 1))} q`;
  if (_inputHandler._windowTitle) text += `\u001b]2;${_inputHandler._windowTitle}\u001b\\`;
  return text;
}
