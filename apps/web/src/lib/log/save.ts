import type { Client } from '@vmo/client';
import type { Job } from '@vmo/contract';

/**
 * Downloads the raw bytes of a log to a file.
 *
 * @param foreign The server is of another origin, where a link would carry no credential: the log is fetched first.
 */
export async function saveRawLog(client: Client, job: Job, foreign: boolean): Promise<void> {
  const options = { params: { jobId: job.id }, query: { download: '' } };
  const link = document.createElement('a');
  link.download = '';
  if (!foreign) {
    link.href = client.url('getLog', options);
    link.click();
    return;
  }
  const response = await client.download('getLog', options);
  const address = URL.createObjectURL(await response.blob());
  link.href = address;
  link.download = `${job.id}.log`;
  link.click();
  // The download has begun with the click; its bytes may be let go a little later.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
