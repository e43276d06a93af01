/** 0.4 s · 12 s · 1:07 · 2:03:44, of milliseconds. */
export function durationWords(ms: number | null): string {
  if (ms === null) return '';
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${String(Math.floor(seconds))} s`;
  const two = (n: number) => String(Math.floor(n)).padStart(2, '0');
  const minutes = `${two((seconds / 60) % 60)}:${two(seconds % 60)}`;
  return seconds < 3600 ? minutes.replace(/^0/, '') : `${String(Math.floor(seconds / 3600))}:${minutes}`;
}

/** 5 s · 12 min · 3 h · 8 d ago. */
export function agoWords(iso: string | null, now = Date.now()): string {
  if (iso === null) return '';
  const seconds = Math.max(0, (now - Date.parse(iso)) / 1000);
  if (seconds < 60) return `${String(Math.floor(seconds))} s ago`;
  if (seconds < 3600) return `${String(Math.floor(seconds / 60))} min ago`;
  if (seconds < 86_400) return `${String(Math.floor(seconds / 3600))} h ago`;
  return `${String(Math.floor(seconds / 86_400))} d ago`;
}

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** 512 B · 1.5 KiB · 20 GiB. */
export function bytesWords(bytes: number | null): string {
  if (bytes === null) return '';
  const power = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), units.length - 1);
  const value = bytes / 1024 ** power;
  return `${String(Number(value.toFixed(value < 100 ? 1 : 0)))} ${units[power] ?? ''}`;
}

/** “one”, “one and two”, “one, two and three”. */
export function listWords(words: readonly string[], last = 'and'): string {
  if (words.length < 2) return words.join('');
  return `${words.slice(0, -1).join(', ')} ${last} ${words.at(-1) ?? ''}`;
}

const plainWord = /^[A-Za-z0-9_@%+=:,./-]+$/;

/**
 * One command for `sh -c`: a single argument is taken as it is, so that pipes and variables work; several keep their
 * borders, so that the program gets exactly these.
 */
export function toCommand(words: readonly string[]): string {
  if (words.length === 1) return words[0] ?? '';
  return words.map((word) => (plainWord.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)).join(' ');
}
