/** The lease was lost: another attempt owns the job, and this one must not write. */
export class LeaseLostError extends Error {}
