import { isSpecial, lineText } from '@vmo/ansi';
import type { Block } from './line-walker.ts';

export type Severity = 'error' | 'warning';
export type GroupKind = 'group' | 'recipe' | 'directory';

export interface Problem {
  line: number;
  severity: Severity;
  text: string;
}

export interface Group {
  start: number;
  end: number | null;
  name: string;
  kind: GroupKind;
  depth: number;
}

/** Problems and groups that are listed, each; problems go on being counted. */
export const maxListed = 10_000;
const maxText = 300;
/** Longer lines are no messages of a compiler. */
const maxLine = 4000;

/** Asked of a whole block before its lines are looked at one by one. */
const interesting = /error|warning|\*\*\*|undefined reference|::group::|::endgroup::|ing directory|target '/i;

/**
 * What compilers and make say. Sources: GNU coding standards ("Formatting Error Messages": `file:line:column:
 * message`), which gcc, clang, javac, shellcheck and many others keep to; the manuals of make, ld, cargo, tsc, cmake.
 */
const problems: readonly (readonly [RegExp, Severity | null])[] = [
  // src/a.c:12:3: error: …, a.c:12: fatal error: …, Foo.java:3: warning: …; also with a program in front: cc1: error: …
  [/^(?:[^\s:][^:]*|[A-Za-z]:[^:]+)(?::\d+){0,2}: (?:fatal )?(error|warning)\b(?:\[[^\]]*\])?:/, null],
  // src/a.ts(12,3): error TS2304: … and a.c(12): warning C4996: …
  [/^\S[^()]*\(\d+(?:,\d+)?\)\s?: (?:fatal )?(error|warning)\b/, null],
  // error[E0425]: … and warning: unused … of cargo
  [/^(error|warning)(?:\[\w+\])?: /, null],
  [/^CMake (Error|Warning)\b/, null],
  // make: *** [Makefile:3: all] Error 1, make[2]: *** No rule to make target …, Makefile:3: *** missing separator.  Stop.
  [/^(?:\S*make(?:\[\d+\])?|[^\s:]+:\d+): \*\*\* /, 'error'],
  [/\bundefined reference to [`']/, 'error'],
  [/^npm (?:error|ERR!) code\b/, 'error'],
];

const groupStart = /^::group::(.*)$/;
const groupEnd = '::endgroup::';
const entering = /^\S*make(?:\[\d+\])?: Entering directory [`'](.*)'$/;
const leaving = /^\S*make(?:\[\d+\])?: Leaving directory [`'](.*)'$/;
/** What `make --trace` says before it runs a recipe. */
const recipe = /^\S+:\d+: (?:target '(.+)' does not exist|update target '(.+)' due to: .*)$/;

/** Finds groups that fold, and errors and warnings, in the lines of one log. */
export class MarkScanner {
  readonly problems: Problem[] = [];
  readonly groups: Group[] = [];
  readonly counts: Record<Severity, number> = { error: 0, warning: 0 };
  readonly #open: Group[] = [];

  add({ text, number }: Block): void {
    if (!interesting.test(text)) return;
    let line = number;
    for (let at = 0; at <= text.length; line++) {
      const end = text.indexOf('\n', at);
      const stop = end === -1 ? text.length : end;
      if (stop - at <= maxLine) this.#look(text.slice(at, stop), line);
      if (end === -1) return;
      at = end + 1;
    }
  }

  /** The log has ended with this line: so have the groups in it. */
  finish(lastLine: number): void {
    while (this.#open.length > 0) this.#close(lastLine);
  }

  get truncated(): boolean {
    return this.groups.length >= maxListed || this.counts.error + this.counts.warning > this.problems.length;
  }

  #look(raw: string, line: number): void {
    if (!interesting.test(raw)) return;
    const text = isSpecial(raw) ? lineText(raw) : raw;
    const severity = severityOf(text);
    if (severity) {
      this.counts[severity]++;
      if (this.problems.length < maxListed)
        this.problems.push({ line, severity, text: text.slice(0, maxText) });
      return;
    }
    this.#lookForGroup(text, line);
  }

  #lookForGroup(text: string, line: number): void {
    const started = groupStart.exec(text);
    if (started) {
      this.#begin('group', (started[1] ?? '').trim() || 'group', line);
      return;
    }
    if (text.startsWith(groupEnd)) {
      this.#closeThrough((group) => group.kind === 'group', line);
      return;
    }
    const entered = entering.exec(text);
    if (entered) {
      this.#begin('directory', entered[1] ?? '', line);
      return;
    }
    if (leaving.test(text)) {
      this.#closeThrough((group) => group.kind === 'directory', line);
      return;
    }
    const traced = recipe.exec(text);
    if (traced) {
      // One recipe follows another; those of a make below it lie within its directory.
      if (this.#open.at(-1)?.kind === 'recipe') this.#close(line - 1);
      this.#begin('recipe', traced[1] ?? traced[2] ?? '', line);
    }
  }

  #begin(kind: GroupKind, name: string, line: number): void {
    if (this.groups.length >= maxListed) return;
    const group = { start: line, end: null, name: name.slice(0, maxText), kind, depth: this.#open.length };
    this.groups.push(group);
    this.#open.push(group);
  }

  #close(line: number): void {
    const group = this.#open.pop();
    if (group) group.end = Math.max(line, group.start);
  }

  /** Ends the innermost group of this kind, and what was opened in it; none: an end without a beginning says nothing. */
  #closeThrough(isIt: (group: Group) => boolean, line: number): void {
    const at = this.#open.findLastIndex(isIt);
    if (at === -1) return;
    while (this.#open.length > at + 1) this.#close(line - 1);
    this.#close(line);
  }
}

function severityOf(text: string): Severity | null {
  for (const [rule, severity] of problems) {
    const match = rule.exec(text);
    if (!match) continue;
    return severity ?? (match[1]?.toLowerCase() === 'warning' ? 'warning' : 'error');
  }
  return null;
}
