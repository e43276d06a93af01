import { GuestLogin } from '@vmo/contract';

/** What a `*.conf` file says. */
export interface TemplateFile {
  cpus: number;
  memoryMib: number;
  additionalArguments: string[];
  login: GuestLogin | null;
  /** Why it cannot be used. */
  reason: string | null;
}

const defaults = { cpus: 1, memoryMib: 512 };

/**
 * Options of QEMU that would take a machine out of our hands: how it is confined, where it runs, how it is told apart
 * and spoken to. The value says why.
 */
const forbidden: ReadonlyMap<string, string> = new Map([
  ...['sandbox', 'runas', 'chroot', 'run-with', 'enable-fips'].map(
    (name) => [name, 'how machines are confined'] as const,
  ),
  ...['daemonize', 'pidfile', 'nodefaults', 'no-user-config', 'D', 'writeconfig'].map(
    (name) => [name, 'how machines are started'] as const,
  ),
  ...['uuid', 'name'].map((name) => [name, 'how machines are told apart'] as const),
  ...['qmp', 'qmp-pretty', 'mon', 'monitor', 'gdb', 's', 'qtest', 'qtest-log'].map(
    (name) => [name, 'how machines are spoken to'] as const,
  ),
  ...['S', 'incoming', 'loadvm', 'snapshot', 'preconfig', 'no-shutdown', 'no-reboot', 'action'].map(
    (name) => [name, 'how machines begin and end'] as const,
  ),
  ...['readconfig', 'plugin', 'trace', 'd', 'dfilter', 'record', 'replay'].map(
    (name) => [name, 'what is read and written on this host'] as const,
  ),
  ...['help', 'h', 'version'].map((name) => [name, 'that it only prints something'] as const),
]);

/** Splits as a shell does, without expanding anything. @returns null where a quote is not closed */
export function splitWords(text: string): string[] | null {
  const words: string[] = [];
  let word: string | null = null;
  let quote: '"' | "'" | null = null;
  for (let at = 0; at < text.length; at += 1) {
    const letter = text.charAt(at);
    if (quote === "'") {
      if (letter === "'") quote = null;
      else word = (word ?? '') + letter;
    } else if (letter === '\\' && at + 1 < text.length) {
      at += 1;
      const next = text.charAt(at);
      word = (word ?? '') + (quote === '"' && !/["\\$`]/.test(next) ? `\\${next}` : next);
    } else if (letter === '"') {
      quote = quote === '"' ? null : '"';
      word ??= '';
    } else if (letter === "'" && quote === null) {
      quote = "'";
      word ??= '';
    } else if (/\s/.test(letter) && quote === null) {
      if (word !== null) words.push(word);
      word = null;
    } else word = (word ?? '') + letter;
  }
  if (quote !== null) return null;
  if (word !== null) words.push(word);
  return words;
}

/** A value ends at a `#` that begins a word outside of quotes. */
function withoutComment(text: string): string {
  let quote = '';
  for (let at = 0; at < text.length; at += 1) {
    const letter = text.charAt(at);
    if (letter === '\\' && quote !== "'") at += 1;
    else if (quote !== '') quote = letter === quote ? '' : quote;
    else if (letter === '"' || letter === "'") quote = letter;
    else if (letter === '#' && (at === 0 || /\s/.test(text.charAt(at - 1)))) return text.slice(0, at);
  }
  return text;
}

function objection(args: readonly string[]): string | null {
  for (const argument of args) {
    const option = /^--?([A-Za-z][A-Za-z0-9-]*)/.exec(argument)?.[1];
    const why = option === undefined ? undefined : forbidden.get(option);
    if (why !== undefined) return `ADDITIONAL_ARGS has ${argument}, and ${why} is not for templates to say`;
  }
  return null;
}

/** `4G`, `512M`, `512`: MiB, as QEMU reads it. */
function memoryOf(value: string): number | null {
  const match = /^(\d{1,8})([KMGT]?)(?:i?B)?$/i.exec(value);
  if (!match) return null;
  const factor = { K: 1 / 1024, '': 1, M: 1, G: 1024, T: 1024 * 1024 }[(match[2] ?? '').toUpperCase()] ?? 1;
  const mib = Math.floor(Number(match[1]) * factor);
  return mib >= 32 && mib <= 16 * 1024 * 1024 ? mib : null;
}

/**
 * Reads lines as `MEMORY=4G`, `CPU=2` and `ADDITIONAL_ARGS="-device …"`. Nothing of it is ever executed. What cannot
 * be used says why in `reason`, with the line.
 */
export function parseTemplateFile(text: string): TemplateFile {
  const result: TemplateFile = { ...defaults, additionalArguments: [], login: null, reason: null };
  let user: string | undefined;
  let password: string | undefined;
  const wrong = (line: number, words: string) => {
    result.reason ??= `line ${line}: ${words}`;
  };
  for (const [index, whole] of text.split(/\r?\n/).entries()) {
    const line = index + 1;
    const trimmed = whole.trim().replace(/^export\s+/, '');
    if (trimmed === '' || trimmed.startsWith('#')) continue;
    const match = /^([A-Za-z_]\w*)=(.*)$/.exec(trimmed);
    if (!match) {
      wrong(line, 'is not NAME=VALUE');
      continue;
    }
    const [, name = '', given = ''] = match;
    const words = splitWords(withoutComment(given));
    if (words === null) {
      wrong(line, 'a quote is not closed');
      continue;
    }
    const value = words.join(' ');
    if (name === 'MEMORY') {
      const mib = memoryOf(value);
      if (mib === null) wrong(line, `MEMORY is ${JSON.stringify(value)}: it takes a size as 512M or 4G`);
      else result.memoryMib = mib;
    } else if (name === 'CPU') {
      const cpus = /^\d{1,3}$/.test(value) ? Number(value) : 0;
      if (cpus < 1 || cpus > 256)
        wrong(line, `CPU is ${JSON.stringify(value)}: it takes a number from 1 to 256`);
      else result.cpus = cpus;
    } else if (name === 'ADDITIONAL_ARGS') {
      const args = splitWords(value);
      if (args === null) wrong(line, 'a quote within ADDITIONAL_ARGS is not closed');
      else {
        result.additionalArguments = args;
        const why = objection(args);
        if (why !== null) wrong(line, why);
      }
    } else if (name === 'LOGIN_USER') user = value;
    else if (name === 'LOGIN_PASSWORD') password = value;
    else {
      wrong(
        line,
        `${name} is not known: there are MEMORY, CPU, ADDITIONAL_ARGS, LOGIN_USER and LOGIN_PASSWORD`,
      );
      continue;
    }
    if (!name.startsWith('LOGIN_')) continue;
    const login = GuestLogin.safeParse({ user, password });
    if (login.success) result.login = login.data;
    else wrong(line, `${name} ${login.error.issues[0]?.message ?? 'cannot be used'}`);
  }
  return result;
}
