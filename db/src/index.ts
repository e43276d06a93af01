export * from './connect.ts';
export * from './embedded.ts';
export * from './hold.ts';
export * from './migrate.ts';
export * from './schema.ts';
