import { z } from 'zod';
import { Slots } from './agent.ts';
import { ImageCopy, Sha256 } from './images.ts';
import { AgentId, JobId } from './ids.ts';
import { Timestamp } from './text.ts';

/**
 * Version of what agents and server say to each other. Another one is refused: raise it with every change that an agent of
 * before would misunderstand.
 */
export const agentContractVersion = 3;

export const AgentName = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/,
    'must be 1 to 64 letters, digits, dots, dashes or underscores, and begin with a letter or digit',
  );

/** What an agent has to offer. */
export const AgentCapacity = z.strictObject({
  slots: Slots,
  cpus: z.int().min(0).describe('It takes no machine that has more'),
  memoryMib: z.int().min(0),
  accelerators: z.array(z.string().min(1).max(20)).max(10).describe('For example `kvm`, `tcg`; best first'),
  images: z
    .array(ImageCopy)
    .max(1000)
    .describe('That it has; the server’s own agent has those of the server'),
  fetchesImages: z.boolean().default(false).describe('It brings those that it lacks from the server'),
  imageCacheBytes: z
    .int()
    .min(0)
    .nullable()
    .default(null)
    .describe('The room for images that it brings: a larger one it does not bring; null: it did not say'),
});
export type AgentCapacity = z.infer<typeof AgentCapacity>;

/** The largest image that an agent brings, in bytes; 0: none; Infinity: it is of before, and did not say. */
export const largestBrought = ({
  fetchesImages,
  imageCacheBytes,
}: Pick<AgentCapacity, 'fetchesImages' | 'imageCacheBytes'>): number =>
  fetchesImages ? (imageCacheBytes ?? Infinity) : 0;

/**
 * online: it takes work · draining: it is to take no more, by a person's wish or because it is about to end · offline: it
 * has not been heard of for the time of a lease · revoked: its token is refused · new: it never came.
 */
export const AgentStatus = z.enum(['online', 'draining', 'offline', 'revoked', 'new']);
export type AgentStatus = z.infer<typeof AgentStatus>;

export const Agent = z.object({
  id: AgentId,
  name: z.string(),
  kind: z.enum(['local', 'remote']).describe('local: inside the server'),
  status: AgentStatus,
  version: z.string().nullable(),
  contract: z.int().nullable().describe('Version of the agent contract that it speaks'),
  capacity: AgentCapacity.nullable().describe('null: it has not said'),
  busy: Slots.describe('Jobs that it has now, by kind'),
  usedCpus: z
    .int()
    .describe('Of its requests’ machines: may be more than it has, since machines share processors'),
  usedMemoryMib: z.int(),
  seenAt: Timestamp.nullable(),
  leaseUntil: Timestamp.nullable().describe('By the clock of the database'),
  createdAt: Timestamp,
  createdBy: z.string(),
});
export type Agent = z.infer<typeof Agent>;

export const NewAgent = z.strictObject({ name: AgentName });
export type NewAgent = z.infer<typeof NewAgent>;

/** How an agent introduces itself. */
export const AgentHello = z.strictObject({
  contract: z.int(),
  version: z.string().min(1).max(100),
  installation: z.uuid().describe('Of its data directory: a token is for one at a time'),
  capacity: AgentCapacity,
});
export type AgentHello = z.infer<typeof AgentHello>;

/**
 * The first words of an agent of any version, so that one of another version is told so, and not that its words are wrong.
 * This must never change.
 */
export const StrangeHello = AgentHello.pick({ contract: true, version: true }).loose();
export type StrangeHello = z.infer<typeof StrangeHello>;

/** The times of a lease, in milliseconds. */
export const LeaseTimes = z.object({
  leaseMs: z.int().min(1).describe('From each renewal on'),
  renewMs: z.int().min(1),
  /** So long after the last renewal was asked for, the agent's runs are ended: well before somebody else may have them. */
  endRunsMs: z.int().min(1),
  pollMs: z.int().min(1).describe('How often it asks for jobs when nobody told of any'),
});
export type LeaseTimes = z.infer<typeof LeaseTimes>;

export const AgentWelcome = z.object({
  name: z.string(),
  times: LeaseTimes,
  now: Timestamp.describe('The server’s clock'),
});
export type AgentWelcome = z.infer<typeof AgentWelcome>;

/** What an agent says when it renews its lease. */
export const AgentReport = z.strictObject({
  capacity: AgentCapacity,
  leaving: z.boolean().describe('It was asked to end, and takes no more jobs'),
  left: z
    .array(JobId)
    .max(1000)
    .default([])
    .describe('Requests that it does not run, and of whose machines it has files'),
});
export type AgentReport = z.infer<typeof AgentReport>;

export const LeaseAnswer = z.object({
  draining: z.boolean().describe('A person wants it to take no more jobs'),
  cancelled: z.array(JobId).describe('Jobs it has whose end somebody asked for'),
  discard: z.array(JobId).default([]).describe('Of `left`: those that nobody wants any more'),
  wanted: z
    .array(JobId)
    .default([])
    .describe('Requests whose kept disks the server wants to have: to be sent as long as it says so'),
  now: Timestamp.describe('The server’s clock'),
});
export type LeaseAnswer = z.infer<typeof LeaseAnswer>;

/** Largest piece of a kept disk, in bytes. */
export const maxKeptPiece = 4 * 1024 * 1024;

/** The disks that were kept of a request, in their order. */
export const KeptFiles = z.strictObject({
  files: z
    .array(z.strictObject({ sizeBytes: z.int().min(1), sha256: Sha256 }))
    .max(100)
    .describe('Empty: they are not there any more'),
});
export type KeptFiles = z.infer<typeof KeptFiles>;

/** What has happened since the agent asked the last time. Hints: what they say is also found by asking. */
export const AgentNews = z.object({
  jobsPending: z.boolean(),
  cancelRequested: z.array(JobId),
  renew: z.boolean().default(false).describe('The answer to a renewal says something new'),
});
export type AgentNews = z.infer<typeof AgentNews>;
