import { setTimeout as delay } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { lineText } from '@vmo/ansi';
import type { MachineRequest } from '@vmo/contract';
import type { Machine } from '../driver.ts';
import { runner } from './runner.ts';
import { asRoot } from './scripts.ts';

type Typed = Pick<Machine, 'input'>;

/** A terminal holds 4,095 bytes for a shell that is busy, and loses what is more. */
const typedBytes = 1_000;
const typedMs = 250;
const asksShell = /^.{0,100}[#$]\s*$/;
const asksName = /(^|\s)login:\s*$/i;
const asksPassword = /^(password|kennwort|mot de passe|contraseña)[^:]{0,40}:\s*$/i;
/** A console that refuses a password twice will do so for ever. */
const maxLogins = 2;

/**
 * What is typed at a serial console, by what its last line asks for: name, password, and then the runner where a shell
 * waits.
 */
export function createConsoleLogin(login: MachineRequest['login'], notice: (line: string) => void) {
  let names = 0;
  let isIn = false;

  return {
    /** Somebody has been logged in by us: what asks now is their shell. */
    get isIn() {
      return isIn;
    },

    /** @returns whether the runner has been typed, or nothing more is going to be */
    async answer(end: string, machine: Typed, signal: AbortSignal): Promise<boolean> {
      const line = lineText(end.split(/\r?\n|\r/).at(-1) ?? '');
      if (asksName.test(line) && login) {
        isIn = false;
        if (names === maxLogins) {
          notice(`the serial console does not let ${login.user} in`);
          return true;
        }
        names += 1;
        await machine.input(`${login.user}\n`);
      } else if (asksPassword.test(line) && login) {
        isIn = true;
        await machine.input(`${login.password ?? ''}\n`);
      } else if (asksShell.test(line)) {
        await typeRunner(machine, signal);
        return true;
      }
      return false;
    },
  };
}

/** Packed, since every byte is typed; without echo, so that the console shows little of it. */
async function typeRunner(machine: Typed, signal: AbortSignal): Promise<void> {
  const packed = gzipSync(runner, { level: 9 }).toString('base64').replaceAll(/.{72}/g, '$&\n');
  const script = '/tmp/vmo-script';
  const text = [
    `base64 -d <<'END' | gzip -dc >${script}`,
    packed,
    'END',
    `${asRoot} setsid sh ${script} --by-serial </dev/null >/dev/null 2>&1 &`,
    '',
  ].join('\n');
  await machine.input(' stty -echo 2>/dev/null\n');
  for (let at = 0; at < text.length; at += typedBytes) {
    await delay(typedMs, undefined, { signal });
    await machine.input(text.slice(at, at + typedBytes));
  }
}
