import type { Figure } from './figures.ts';

/** What a part gets to work with. */
export interface Bench {
  add(figure: Figure): void;
  /** One minute of load where the usual form takes twenty seconds. */
  long: boolean;
}

/** One subject: starts what it needs, so that it measures the same alone as among the others. */
export interface Part {
  name: string;
  /** A part that takes longer is given up, so that the others are still measured. */
  limitSeconds: number;
  measure(bench: Bench): Promise<void>;
}
