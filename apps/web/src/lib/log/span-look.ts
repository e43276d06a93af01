import { bold, cssColor, defaultColor, dim, inverse, italic, strike, underline, type Style } from '@vmo/ansi';

/** How a span is drawn: classes of LogRow, and colours as CSS (null: inherited). */
export interface Look {
  classes: string;
  color: string | null;
  background: string | null;
}

const isTheme = (color: number): boolean => color >= 0 && color < 16;
/** Black, white and grey: what programs use to mean "readable on this background". */
const isNeutral = (color: number): boolean => [defaultColor, 0, 7, 8, 15].includes(color);

/** Perceived brightness of a colour outside the theme's own, 0–1. */
function brightness(color: number): number {
  const css = cssColor(color) ?? '';
  const [r = 0, g = 0, b = 0] = css.startsWith('#')
    ? [color >> 16, color >> 8, color].map((n) => n & 255)
    : (css.match(/\d+/g) ?? []).map(Number);
  return (r * 0.299 + g * 0.587 + b * 0.114) / 255;
}

/**
 * Colours outside the theme are made lighter or darker until they can be read on the theme's surface; hue and
 * strength stay.
 */
function readable(color: number): string | null {
  const css = cssColor(color);
  if (css === null || isTheme(color)) return css;
  return `oklch(from ${css} clamp(var(--log-lightness-min), l, var(--log-lightness-max)) c h)`;
}

function colors({ fg, bg, flags }: Style): Pick<Look, 'color' | 'background'> {
  if (flags & inverse)
    return { color: cssColor(bg) ?? 'var(--surface-base)', background: readable(fg) ?? 'var(--ink)' };
  if (bg === defaultColor) return { color: readable(fg), background: null };
  // The theme's colours are made to be read on its surface, so behind text they are only a tint of it.
  if (isTheme(bg))
    return {
      color: isNeutral(fg) ? 'var(--ink)' : readable(fg),
      background: `color-mix(in oklab, ${cssColor(bg) ?? 'transparent'} 28%, var(--surface-base))`,
    };
  const color = isNeutral(fg) ? (brightness(bg) > 0.5 ? '#000' : '#fff') : cssColor(fg);
  return { color, background: cssColor(bg) };
}

const classes: readonly (readonly [number, string])[] = [
  [bold, 'bold'],
  [dim, 'dim'],
  [italic, 'italic'],
  [underline, 'underline'],
  [strike, 'strike'],
];

export function lookOf(style: Style): Look {
  const names = classes.filter(([flag]) => style.flags & flag).map(([, name]) => name);
  return { classes: names.join(' '), ...colors(style) };
}
