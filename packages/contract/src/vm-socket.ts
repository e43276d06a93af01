import { z } from 'zod';
import { VmId } from './ids.ts';
import { Timestamp } from './text.ts';
import { HostMetric, VmMetric, VmOperation, VmSummary } from './vms.ts';

/** The Socket.IO namespace of machines: whoever is connected gets its facts. Consoles are jobs, see `/jobs`. */
export const vmsNamespace = '/vms';

export const VmMetrics = z.object({
  at: Timestamp,
  host: HostMetric.nullable().describe('null: it could not be looked at'),
  vms: z.array(z.object({ vmId: VmId, metric: VmMetric })),
});
export type VmMetrics = z.infer<typeof VmMetrics>;

/** What happened to a machine: an operation, each time it moves on, or what the hypervisor says. */
export const VmEvent = z.discriminatedUnion('type', [
  z.object({ type: z.literal('operation'), vmId: VmId, operation: VmOperation }),
  z.object({ type: z.literal('hypervisor'), vmId: VmId, at: Timestamp, name: z.string(), words: z.string() }),
  z.object({ type: z.literal('deleted'), vmId: VmId }),
]);
export type VmEvent = z.infer<typeof VmEvent>;

/** Every event that the server sends in this namespace. */
export const vmFacts = {
  'vm:status': { summary: 'A machine, whenever it changes', payload: VmSummary },
  'vm:metrics': {
    summary: 'A look at every running machine and at what they run on, every 10 s',
    payload: VmMetrics,
  },
  'vm:missed': {
    summary: 'This browser fell behind: facts were not sent, and what is shown has to be read again',
    payload: z.object({}),
  },
  'vm:event': { summary: 'What was done with a machine, or happened to it', payload: VmEvent },
} as const satisfies Record<string, { readonly summary: string; readonly payload: z.ZodType }>;

export type VmServerEvents = {
  [N in keyof typeof vmFacts]: (fact: z.output<(typeof vmFacts)[N]['payload']>) => void;
};
