import { tmpdir } from 'node:os';
import type { VmMetrics } from '@vmo/contract';
import { testDatabase } from '@vmo/testkit';
import { sql } from 'kysely';
import { expect, it } from 'vitest';
import { createBus } from '../kernel/bus.ts';
import { hostRates, parseDiskstats, parseNetDev, sampleHost, type HostSample } from './metrics-host.ts';
import { createLoad, createMetrics } from './metrics.ts';

const first: HostSample = {
  ...{ at: 0, cpuBusyMs: 1_000, cpuAllMs: 4_000, memoryMib: 512, storageBytes: 1_000 },
  ...{ diskReadBytes: 100, diskWriteBytes: 500, networkReceivedBytes: null, networkSentBytes: 0 },
};

it('this machine tells its processor, memory and storage', async () => {
  const before = await sampleHost(tmpdir());
  // Something to do between the looks, so that time passes.
  const end = performance.now() + 60;
  while (performance.now() < end);
  const metric = hostRates(before, await sampleHost(tmpdir()));
  expect(metric.memoryMib).toBeGreaterThan(10);
  expect(metric.storageBytes).toBeGreaterThan(0);
  expect(metric.cpuPercent).toBeGreaterThan(0);
  expect(metric.cpuPercent).toBeLessThanOrEqual(100);
});

it('two looks become rates; a first one, and counters that were set back, say nothing', () => {
  expect(hostRates(null, first)).toMatchObject({
    cpuPercent: null,
    memoryMib: 512,
    diskReadBytesPerSecond: null,
  });
  const second = {
    ...first,
    ...{
      at: 10_000,
      cpuBusyMs: 2_000,
      cpuAllMs: 8_000,
      diskReadBytes: 1_100,
      diskWriteBytes: 0,
      networkSentBytes: 50,
    },
  };
  expect(hostRates(first, second)).toMatchObject({
    ...{ cpuPercent: 25, diskReadBytesPerSecond: 100, diskWriteBytesPerSecond: null },
    ...{ networkReceivedBytesPerSecond: null, networkSentBytesPerSecond: 5 },
  });
});

it('counters are those of the right disk, and of the interfaces that lead out', () => {
  const disks = `   8       0 sda 100 5 2000 30 200 7 4000 50 0 60 80
   8       1 sda1 90 5 1000 30 150 7 3000 50 0 60 80
 259       3 nvme0n1p2 1 0 16 0 2 0 32 0 0 0 0
`;
  // st_dev of 8:1 and of 259:3.
  expect(parseDiskstats(disks, 8 * 256 + 1)).toEqual({ read: 512_000, written: 1_536_000 });
  expect(parseDiskstats(disks, 259 * 256 + 3)).toEqual({ read: 8_192, written: 16_384 });
  // An overlay, which is no disk.
  expect(parseDiskstats(disks, 45)).toBeNull();
  const net = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 9999999    1    0    0    0     0          0         0  9999999    1    0    0    0     0       0          0
  eth0:1000    10    0    0    0     0          0         0   2000    20    0    0    0     0       0          0
  tap0: 500     5    0    0    0     0          0         0    500     5    0    0    0     0       0          0
 wlan0:    30     1    0    0    0     0          0         0     40     1    0    0    0     0       0          0
`;
  expect(parseNetDev(net)).toEqual({ received: 1_030, sent: 2_040 });
});

it('is looked at in the same pass as the machines, also when none runs; stored, told, averaged, removed when old', async () => {
  await using database = await testDatabase();
  const { db } = database;
  const told: VmMetrics[] = [];
  const bus = createBus((error) => {
    throw error;
  });
  bus.on('vm:metrics', (fact) => told.push(fact));
  let looks = 0;
  const metrics = createMetrics({
    ...{ db, bus, load: createLoad(), running: () => [] },
    sampleHost() {
      looks += 1;
      const [at, cpuBusyMs, cpuAllMs] = [looks * 10_000, looks * 3_000, looks * 10_000];
      return Promise.resolve({ ...first, at, cpuBusyMs, cpuAllMs });
    },
  });
  const start = Date.UTC(2026, 0, 5, 12, 0, 0);
  await metrics.keepPartitions(start);
  for (let look = 0; look < 61; look += 1) await metrics.look(new Date(start + look * 10_000));
  expect(told).toHaveLength(61);
  expect(told.at(-1)).toMatchObject({ host: { cpuPercent: 30, memoryMib: 512 }, vms: [] });

  const hour = await metrics.readHost({}, start + 600_000);
  expect(hour.everySeconds).toBe(10);
  expect(hour.metrics).toHaveLength(60);
  expect(hour.metrics[0]?.cpuPercent).toBeNull();
  expect(hour.metrics[5]).toMatchObject({
    cpuPercent: 30,
    storageBytes: 1_000,
    networkReceivedBytesPerSecond: null,
  });

  await metrics.rollUp(start + 600_000);
  await metrics.rollUp(start + 600_000);
  const from = new Date(start - 30 * 86_400_000).toISOString();
  const month = { from, to: new Date(start + 86_400_000).toISOString() };
  const rolled = await metrics.readHost(month, start + 600_000);
  expect(rolled.everySeconds % 300).toBe(0);
  expect(rolled.metrics).toMatchObject([{ cpuPercent: 30, storageBytes: 1_000 }]);

  await metrics.keepPartitions(start + 10 * 86_400_000);
  const { rows } = await sql<{ looks: number; averages: number }>`
    select (select count(*) from host_metrics) as looks,
      (select count(*) from host_metrics_rolled) as averages`.execute(db);
  expect(rows).toEqual([{ looks: 0, averages: 2 }]);
});
