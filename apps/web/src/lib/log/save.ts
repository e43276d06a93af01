import type { Client } from '@vmo/client';
import type { Job } from '@vmo/contract';

/** Gives bytes that are here to the person as a file. */
export function saveBlob(bytes: Blob, fileName: string): void {
  const link = document.createElement('a');
  const address = URL.createObjectURL(bytes);
  link.href = address;
  link.download = fileName;
  link.click();
  // The download has begun with the click; its bytes may be let go a little later.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/**
 * Downloads the raw bytes of a log to a file.
 *
 * @param foreign The server is of another origin, where a link would carry no credential: the log is fetched first.
 */
export async function saveRawLog(client: Client, job: Job, foreign: boolean): Promise<void> {
  const options = { params: { jobId: job.id }, query: { download: '' } };
  if (foreign) {
    const response = await client.download('getLog', options);
    saveBlob(await response.blob(), `${job.id}.log`);
    return;
  }
  const link = document.createElement('a');
  link.download = '';
  link.href = client.url('getLog', options);
  link.click();
}
