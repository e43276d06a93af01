import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { connectQmp } from '@vmo/hypervisor';

const execute = promisify(execFile);

/** What a disk begins with: eight bytes, which are the same. */
const contents = ['', 'before', 'after', 'merged', 'on', 'one-cpu'] as const;
export type Content = (typeof contents)[number];

/** The monitor of a machine that is for tools, and the disk that it boots from. */
async function open(vmDirectory: string) {
  const client = await connectQmp({ path: join(vmDirectory, 'run/qmp2.sock') });
  const [block] = await client.execute('query-block');
  const node = block?.inserted?.['node-name'];
  if (!block?.qdev || node === undefined) throw new Error('it has no disk');
  return {
    ...{ device: block.qdev, node, vmDirectory },
    async say(line: string): Promise<void> {
      const answer = await client.execute('human-monitor-command', { 'command-line': line });
      if (answer !== '') throw new Error(`${line}: ${answer}`);
    },
    [Symbol.asyncDispose]: () => client.close(),
  };
}

async function look({ node, vmDirectory, say }: Awaited<ReturnType<typeof open>>): Promise<Content> {
  await say('nbd_server_start unix:run/nbd.sock');
  try {
    await say(`nbd_server_add ${node} shown`);
    const address = `nbd+unix:///shown?socket=${join(vmDirectory, 'run/nbd.sock')}`;
    const { stdout } = await execute('qemu-io', ['-r', '-f', 'raw', '-c', 'read -v 0 8', address]);
    const bytes = /^0+: +((?:[0-9a-f]{2} ){8})/m.exec(stdout)?.[1]?.trim().split(' ') ?? [];
    const content = contents[Number.parseInt(bytes[0] ?? '', 16)];
    if (content === undefined || new Set(bytes).size !== 1) throw new Error(`it shows ${stdout}`);
    return content;
  } finally {
    await say('nbd_server_stop');
  }
}

/** Has QEMU write at the device of a running machine, as it does for a guest, and keep it. */
export async function writeDisk(vmDirectory: string, content: Content): Promise<void> {
  await using monitor = await open(vmDirectory);
  await monitor.say(`qemu-io -d ${monitor.device} "write -P ${contents.indexOf(content)} 0 8"`);
  await monitor.say(`qemu-io -d ${monitor.device} flush`);
  // What went wrong would be told to nobody.
  const shown = await look(monitor);
  if (shown !== content) throw new Error(`${content} was to be written, and it shows ${shown}`);
}

/** What the device of a running machine shows. */
export async function readDisk(vmDirectory: string): Promise<Content> {
  await using monitor = await open(vmDirectory);
  return await look(monitor);
}
