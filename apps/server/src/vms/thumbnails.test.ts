import { inflateSync } from 'node:zlib';
import { VmId } from '@vmo/contract';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createFakeHypervisor, type FakeMachine } from './fake-driver.test.support.ts';
import { owner, startDatacenter, type Datacenter } from './harness.test.support.ts';
import { createThumbnails, shrink } from './thumbnails.ts';

const fake = createFakeHypervisor();
let center: Datacenter;
let machine: FakeMachine;
let vmId: VmId;
beforeAll(async () => {
  center = await startDatacenter({ driver: () => fake.driver, strategy: () => fake.strategy });
  const vm = await center.machine('pictured');
  vmId = vm.id;
  await center.done(await center.vms.act(owner, vm.id, 'start'));
  const started = fake.machines.get(vm.id);
  if (!started) throw new Error('it does not run');
  machine = started;
}, 60_000);
afterAll(async () => {
  await center.stopAll();
  await center[Symbol.asyncDispose]();
});

const ppm = (
  wide: number,
  high: number,
  color: (x: number, y: number) => readonly [number, number, number],
) =>
  Buffer.concat([
    Buffer.from(`P6\n${String(wide)} ${String(high)}\n255\n`),
    ...Array.from({ length: wide * high }, (_, at) => Buffer.from(color(at % wide, Math.floor(at / wide)))),
  ]);

/** Width, height and pixels of a PNG as we write them. */
function readPng(png: Buffer) {
  expect(png.subarray(0, 8).toString('latin1')).toBe('\x89PNG\r\n\x1a\n');
  const wide = png.readUInt32BE(16);
  const high = png.readUInt32BE(20);
  const length = png.readUInt32BE(33);
  const lines = inflateSync(png.subarray(41, 41 + length));
  const at = (x: number, y: number) => [...lines.subarray(y * (1 + wide * 3) + 1 + x * 3).subarray(0, 3)];
  return { wide, high, at };
}

it('a large screen becomes small, each pixel the average of those it stands for', () => {
  const picture = readPng(shrink(ppm(640, 400, (x, y) => (x < 320 ? [200, 0, (y % 2) * 100] : [0, 255, 0]))));
  expect(picture).toMatchObject({ wide: 160, high: 100 });
  expect(picture.at(0, 0)).toEqual([200, 0, 50]);
  expect(picture.at(159, 99)).toEqual([0, 255, 0]);
});

it('a small screen stays as it is, and what is no picture is refused', () => {
  const picture = readPng(shrink(ppm(3, 2, (x, y) => [x, y, 7])));
  expect(picture).toMatchObject({ wide: 3, high: 2 });
  expect(picture.at(2, 1)).toEqual([2, 1, 7]);
  expect(() => shrink(Buffer.from('P6\n1000 1000\n255\nshort'))).toThrow('not what was asked for');
  expect(() => shrink(Buffer.from('GIF89a'))).toThrow('not what was asked for');
});

it('a hundred who look at a list cost a machine one picture in 30 s', async () => {
  let now = 0;
  const thumbnails = createThumbnails(() => now);
  const taken = () => machine.asked.filter((what) => what === 'screenshot ppm').length;
  const before = taken();
  await Promise.all(Array.from({ length: 100 }, () => thumbnails.of(vmId, machine)));
  now = 29_999;
  await thumbnails.of(vmId, machine);
  expect(taken() - before).toBe(1);
  now = 30_000;
  await thumbnails.of(vmId, machine);
  expect(taken() - before).toBe(2);
});

it('two machines at once are asked for a picture, the others wait; one that fails is asked again', async () => {
  const thumbnails = createThumbnails();
  const asked: PromiseWithResolvers<Buffer>[] = [];
  const slow = {
    ...machine,
    screenshot: () => {
      const answer = Promise.withResolvers<Buffer>();
      asked.push(answer);
      return answer.promise;
    },
  };
  const ids = Array.from({ length: 5 }, (_, at) =>
    VmId.parse(`01970000-0000-7000-8000-00000000000${String(at)}`),
  );
  const pictures = ids.map((id) => thumbnails.of(id, slow));
  await Promise.resolve();
  expect(asked).toHaveLength(2);
  asked[0]?.reject(new Error('its monitor does not answer'));
  await expect(pictures[0]).rejects.toThrow('does not answer');
  expect(asked).toHaveLength(3);
  const again = thumbnails.of(ids[0] ?? vmId, slow);
  for (let at = 1; at < 6; at += 1) {
    asked[at]?.resolve(ppm(1, 1, () => [1, 2, 3]));
    await (at < 5 ? pictures[at] : again);
  }
  expect(asked).toHaveLength(6);
});

it('is given of a machine that runs, and refused of one that does not', async () => {
  expect(readPng(await center.vms.thumbnail(vmId))).toMatchObject({ wide: 160, high: 100 });
  const { id } = await center.machine('at-rest');
  await expect(center.vms.thumbnail(id)).rejects.toMatchObject({ code: 'VM_WRONG_STATE' });
});
