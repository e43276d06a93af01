import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { parseMessage, type QmpGreeting } from '../src/qmp/messages.ts';
import { LineReader } from '../src/qmp/protocol.ts';

/** What query-qmp-schema answers, as far as types need it (QEMU's qapi/introspect.json). */
export type SchemaEntry =
  | { 'meta-type': 'builtin'; name: string; 'json-type': string }
  | { 'meta-type': 'enum'; name: string; values: string[] }
  | { 'meta-type': 'array'; name: string; 'element-type': string }
  | {
      'meta-type': 'object';
      name: string;
      members: SchemaMember[];
      tag?: string;
      variants?: { case: string; type: string }[];
    }
  | { 'meta-type': 'alternate'; name: string; members: { type: string }[] }
  | { 'meta-type': 'command'; name: string; 'arg-type': string; 'ret-type': string; features?: string[] }
  | { 'meta-type': 'event'; name: string; 'arg-type': string; features?: string[] };

export interface SchemaMember {
  name: string;
  type: string;
  /** Present: the member may be left out. Always null so far. */
  default?: unknown;
  features?: string[];
}

/** Asks a QEMU without a machine, which is ready at once and ends with its standard input. */
export async function readSchema(qemu: string): Promise<{ greeting: QmpGreeting; schema: SchemaEntry[] }> {
  const child = spawn(qemu, ['-machine', 'none', '-nodefaults', '-display', 'none', '-qmp', 'stdio'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = once(child, 'close');
  for (const execute of ['qmp_capabilities', 'query-qmp-schema', 'quit'])
    child.stdin.write(`${JSON.stringify({ execute, id: execute })}\n`);
  const reader = new LineReader();
  let greeting: QmpGreeting | undefined;
  let schema: unknown;
  child.stdout.on('data', (bytes: Buffer) => {
    for (const line of reader.push(bytes)) {
      const message = parseMessage(line);
      if (message.kind === 'greeting') greeting = message.greeting;
      if (message.kind === 'return' && message.id === 'query-qmp-schema') schema = message.value;
    }
  });
  await ended;
  if (!greeting || !Array.isArray(schema)) throw new Error(`${qemu} did not tell its schema`);
  return { greeting, schema: schema as SchemaEntry[] };
}
