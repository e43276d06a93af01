import { compileQuery, findInText, type FindQuery } from './matches.ts';

export interface FindWork {
  query: FindQuery;
  texts: readonly string[];
}

export interface FindAnswer {
  /** For each text, starts and ends of its matches, flat. */
  found: number[][];
}

onmessage = ({ data }: MessageEvent<FindWork>) => {
  const expression = compileQuery(data.query);
  const found = data.texts.map((text) => (expression instanceof RegExp ? findInText(expression, text) : []));
  postMessage({ found } satisfies FindAnswer);
};
