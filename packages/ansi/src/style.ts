/** No colour of its own: the theme's text or background. */
export const defaultColor = -1;

/** Set in a colour number that holds 0xRRGGBB; without it, 0–255 is an index into the palette. */
const rgbBit = 0x1000000;

export const bold = 1;
export const dim = 2;
export const italic = 4;
export const underline = 8;
export const inverse = 16;
export const strike = 32;

/** How a piece of text looks. Immutable; `defaultColor`, a palette index or an RGB colour, and a set of flags. */
export interface Style {
  readonly fg: number;
  readonly bg: number;
  readonly flags: number;
}

export const plainStyle: Style = { fg: defaultColor, bg: defaultColor, flags: 0 };

export function sameStyle(a: Style, b: Style): boolean {
  return a === b || (a.fg === b.fg && a.bg === b.bg && a.flags === b.flags);
}

const channel = (value: number): number => Math.min(255, Math.max(0, value));
const rgb = (r: number, g: number, b: number): number =>
  rgbBit | (channel(r) << 16) | (channel(g) << 8) | channel(b);

/** Reads the colour after 38, 48 or 58 in either notation; `used` counts the extra parameters. */
function extendedColor(
  groups: readonly (readonly number[])[],
  at: number,
): { color: number | null; used: number } {
  const own = groups[at] ?? [];
  if (own.length > 1) {
    const mode = own[1];
    if (mode === 5) return { color: channel(own[2] ?? 0), used: 0 };
    // 38:2:<colour space>:r:g:b, and without the colour space as some tools write it.
    const [r = 0, g = 0, b = 0] = own.length > 5 ? own.slice(3) : own.slice(2);
    return { color: mode === 2 ? rgb(r, g, b) : null, used: 0 };
  }
  const value = (offset: number): number => groups[at + offset]?.[0] ?? 0;
  if (value(1) === 5) return { color: channel(value(2)), used: 2 };
  if (value(1) === 2) return { color: rgb(value(2), value(3), value(4)), used: 4 };
  return { color: null, used: 1 };
}

/** Parameters of more characters mean nothing: what is cut off within them must be kept until the rest comes. */
export const longestSgr = 256;

/**
 * The style after `ESC [ params m`. Unknown parameters change nothing; conceal (8) is ignored on purpose: a log
 * shows what was written.
 */
export function applySgr(style: Style, params: string): Style {
  if (params === '' || params === '0') return plainStyle;
  if (params.length > longestSgr) return style;
  // Private parameters (`>4;2m` sets a keyboard mode) are not styles.
  if (/[<=>?]/.test(params)) return style;
  let { fg, bg, flags } = style;
  const groups = params.split(';').map((group) => group.split(':').map((number) => Number(number) || 0));
  for (let at = 0; at < groups.length; at++) {
    const group = groups[at] ?? [];
    const code = group[0] ?? 0;
    if (code >= 30 && code <= 37) fg = code - 30;
    else if (code >= 90 && code <= 97) fg = code - 90 + 8;
    else if (code >= 40 && code <= 47) bg = code - 40;
    else if (code >= 100 && code <= 107) bg = code - 100 + 8;
    else
      switch (code) {
        case 0:
          ({ fg, bg, flags } = plainStyle);
          break;
        case 1:
          flags |= bold;
          break;
        case 2:
          flags |= dim;
          break;
        case 3:
          flags |= italic;
          break;
        case 4:
          flags = group[1] === 0 ? flags & ~underline : flags | underline;
          break;
        case 21:
          flags |= underline;
          break;
        case 7:
          flags |= inverse;
          break;
        case 9:
          flags |= strike;
          break;
        case 22:
          flags &= ~(bold | dim);
          break;
        case 23:
          flags &= ~italic;
          break;
        case 24:
          flags &= ~underline;
          break;
        case 27:
          flags &= ~inverse;
          break;
        case 29:
          flags &= ~strike;
          break;
        case 39:
          fg = defaultColor;
          break;
        case 49:
          bg = defaultColor;
          break;
        case 38:
        case 48:
        case 58: {
          const { color, used } = extendedColor(groups, at);
          if (color !== null && code === 38) fg = color;
          if (color !== null && code === 48) bg = color;
          at += used;
          break;
        }
      }
  }
  return { fg, bg, flags };
}

function sgrColor(base: 38 | 48, color: number): string {
  if (color === defaultColor) return '';
  if (color & rgbBit)
    return `;${String(base)};2;${[color >> 16, color >> 8, color].map((n) => n & 255).join(';')}`;
  return `;${String(base)};5;${String(color)}`;
}

/** The escape sequence that sets exactly this style, whatever was set before. */
export function sgrOf(style: Style): string {
  const codes: readonly (readonly [number, string])[] = [
    [bold, ';1'],
    [dim, ';2'],
    [italic, ';3'],
    [underline, ';4'],
    [inverse, ';7'],
    [strike, ';9'],
  ];
  const flags = codes.map(([flag, code]) => (style.flags & flag ? code : '')).join('');
  return `\x1b[0${flags}${sgrColor(38, style.fg)}${sgrColor(48, style.bg)}m`;
}

const cube = [0, 95, 135, 175, 215, 255] as const;

/** A colour number as CSS. The first 16 are the theme's own (`--ansi-0` … `--ansi-15`); null: the theme's default. */
export function cssColor(color: number): string | null {
  if (color === defaultColor) return null;
  if (color & rgbBit) return `#${(color & 0xffffff).toString(16).padStart(6, '0')}`;
  if (color < 16) return `var(--ansi-${String(color)})`;
  if (color >= 232) {
    const level = 8 + (color - 232) * 10;
    return `rgb(${[level, level, level].map(String).join(' ')})`;
  }
  const index = color - 16;
  const levels = [Math.floor(index / 36), Math.floor(index / 6) % 6, index % 6].map(
    (step) => cube[step] ?? 0,
  );
  return `rgb(${levels.map(String).join(' ')})`;
}

/** Gives each style a small number, so that a million lines can remember the style they begin with. */
export class StyleTable {
  readonly #styles: Style[] = [plainStyle];
  readonly #ids = new Map<string, number>();

  id(style: Style): number {
    if (sameStyle(style, plainStyle)) return 0;
    const key = `${String(style.fg)},${String(style.bg)},${String(style.flags)}`;
    const known = this.#ids.get(key);
    if (known !== undefined) return known;
    const id = this.#styles.push(style) - 1;
    this.#ids.set(key, id);
    return id;
  }

  style(id: number): Style {
    return this.#styles[id] ?? plainStyle;
  }
}
