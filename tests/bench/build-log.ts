/**
 * Text like the log of a large build: the same words again and again, in lines that differ. The same on every run, so
 * that compression has the same work.
 */
export function buildLog(bytes: number): Buffer {
  const lines: string[] = [];
  let random = 1;
  const next = (below: number): number => {
    random = (random * 48_271) % 2_147_483_647;
    return Math.floor((random / 2_147_483_647) * below);
  };
  const words = ['core', 'net', 'parser', 'index', 'cache', 'driver', 'render', 'codec', 'queue', 'table'];
  const word = (): string => words[next(words.length)] ?? '';
  for (let size = 0; size < bytes; size += lines.at(-1)?.length ?? 1) {
    const file = `${word()}/${word()}_${String(next(100_000))}`;
    const line =
      next(20) === 0
        ? `src/${file}.c:${String(next(3_000))}:${String(next(90))}: warning: unused variable '${word()}_${String(next(100))}'\n`
        : `[${String(next(100))}%] cc -O2 -Wall -Iinclude/${word()} -c src/${file}.c -o build/${file}.o # 0x${next(2_147_483_647).toString(16)}\n`;
    lines.push(line);
  }
  return Buffer.from(lines.join('')).subarray(0, bytes);
}

/** As a job's output is stored. */
export function inChunks(bytes: Buffer): Buffer[] {
  const size = 65_536;
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) =>
    bytes.subarray(at * size, (at + 1) * size),
  );
}
