export * from './connection.ts';
export * from './find-in-log.ts';
export * from './follow-job.ts';
export * from './rest.ts';
export * from './unreachable.ts';
export * from './vms.ts';
