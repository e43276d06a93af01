import { pipeline } from 'node:stream/promises';
import type { Response } from 'express';

/** Sends as fast as the reader reads. A reader that goes away ends the reading of the log, and is no error. */
export async function sendBytes(log: NodeJS.ReadableStream, response: Response): Promise<void> {
  try {
    await pipeline(log, response);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ERR_STREAM_PREMATURE_CLOSE') return;
    throw error;
  }
}
