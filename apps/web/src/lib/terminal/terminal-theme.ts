import type { ITheme } from '@xterm/xterm';

/**
 * The page's theme for a terminal. Programs use black and white as backgrounds, too: these four are surfaces here,
 * and text in them is made readable by the terminal's minimum contrast.
 */
export function terminalTheme(root: HTMLElement): ITheme {
  const styles = getComputedStyle(root);
  const value = (name: string): string => styles.getPropertyValue(name).trim();
  const ansi = (number: number): string => value(`--ansi-${String(number)}`);
  const dark = root.dataset.theme !== 'light';
  return {
    background: value('--surface-base'),
    foreground: value('--ink'),
    cursor: value('--ink'),
    cursorAccent: value('--surface-base'),
    selectionBackground: value('--selection'),
    scrollbarSliderBackground: value('--line'),
    scrollbarSliderHoverBackground: value('--line-strong'),
    scrollbarSliderActiveBackground: value('--line-strong'),
    black: dark ? value('--surface-overlay') : ansi(0),
    red: ansi(1),
    green: ansi(2),
    yellow: ansi(3),
    blue: ansi(4),
    magenta: ansi(5),
    cyan: ansi(6),
    white: dark ? ansi(7) : value('--surface-hover'),
    brightBlack: ansi(8),
    brightRed: ansi(9),
    brightGreen: ansi(10),
    brightYellow: ansi(11),
    brightBlue: ansi(12),
    brightMagenta: ansi(13),
    brightCyan: ansi(14),
    brightWhite: dark ? ansi(15) : value('--surface-base'),
  };
}
