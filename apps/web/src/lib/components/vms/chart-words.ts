import { bytesWords } from '#lib/units.ts';

export const rateWords = (value: number): string => `${bytesWords(value)}/s`;
export const percentWords = (value: number): string =>
  `${value > 0 && value < 10 ? value.toFixed(1) : String(Math.round(value))} %`;
