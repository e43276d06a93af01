import { FindRow, type FindQuery, type JobId, type LogStream } from '@vmo/contract';
import type { Client } from './rest.ts';
import { UnreachableError } from './unreachable.ts';

export interface FindOptions extends Omit<FindQuery, 'streams' | 'afterSeq'> {
  /** Streams to look at; absent: all. */
  streams?: readonly LogStream[] | undefined;
  /** Where an earlier search ended. */
  afterSeq?: number;
}

/**
 * Searches the stored log of a job on the server; gives each row of the answer as it comes.
 * @throws as {@link Client.download}; UnreachableError when the answer breaks off.
 */
export async function* findInLog(
  client: Client,
  jobId: JobId,
  { streams, regex, caseSensitive, ...query }: FindOptions,
  signal: AbortSignal,
): AsyncGenerator<FindRow, void> {
  const response = await client.download('findInLog', {
    params: { jobId },
    query: {
      ...query,
      regex: String(regex),
      caseSensitive: String(caseSensitive),
      ...(streams ? { streams: streams.join(',') } : {}),
    },
    signal,
  });
  let rest = '';
  const words = 'The search broke off before its end. Check the connection and search again.';
  try {
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) {
      rest += part.value;
      const lines = rest.split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const row = FindRow.parse(JSON.parse(line));
        yield row;
        if (row.type === 'end' || row.type === 'error') return;
      }
    }
  } catch (error) {
    if (signal.aborted) throw error;
    throw new UnreachableError(client.baseUrl, words, { cause: error });
  }
  throw new UnreachableError(client.baseUrl, words);
}
