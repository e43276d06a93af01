/** What only the text of a Makefile tells: make does not keep comments, nor where a rule without recipe stands. */
export interface SourceRule {
  file: string;
  /** First line of the rule, from 1. */
  line: number;
  /** Last line of the rule, when it is continued over several. */
  endLine: number;
  /** The left side, as written. */
  targets: string;
  description: string;
}

export interface SourceVariable {
  name: string;
  description: string;
}

export interface MakefileSource {
  rules: SourceRule[];
  /** Those marked with `?=`. */
  variables: SourceVariable[];
}

interface LogicalLine {
  text: string;
  line: number;
  endLine: number;
}

/** Lines with their continuations joined; recipes, comments and `define` bodies stay as they are. */
function* logicalLines(text: string): Generator<LogicalLine> {
  const lines = text.split(/\r?\n/);
  for (let index = 0; index < lines.length; index++) {
    const first = index;
    let joined = lines[index] ?? '';
    while (joined.endsWith('\\') && index + 1 < lines.length) {
      index += 1;
      joined = `${joined.slice(0, -1).trimEnd()} ${(lines[index] ?? '').trim()}`;
    }
    yield { text: joined, line: first + 1, endLine: index + 1 };
  }
}

const variableMark = /^(?:(?:export|override) +)*([^\s:#=?+!]+) *\?=/;
const assignment = /^(?:(?:export|override|private) +)*[^\s:#=?+!]+ *(?:[:?+!]|::)?=/;
/** The left side may hold colons only inside of references, as in `$(SOURCES:.c=.o)`. */
const ruleHead = /^((?:[^\s:#=$]|\s|\$[({][^)}]*[)}]|\$.)+?)\s*::?(?!=)/;
const directive =
  /^(include|-include|sinclude|ifeq|ifneq|ifdef|ifndef|else|endif|export|unexport|undefine|vpath|override)\b/;

/** The words of `# text` and `## text`; rulers such as `# -----` say nothing. */
const commentWords = (line: string) =>
  line
    .replace(/^#+ ?/, '')
    .replace(/^[-=*~#\s]+$/, '')
    .trim();

const trailing = (text: string) => /\s##\s*(.*)$/.exec(text)?.[1]?.trim() ?? '';

export function readSource(file: string, text: string): MakefileSource {
  const rules: SourceRule[] = [];
  const variables: SourceVariable[] = [];
  /** The comment block that ends right above. */
  let comment: string[] = [];
  let defines = 0;

  for (const { text: whole, line, endLine } of logicalLines(text)) {
    if (/^\s*define\b/.test(whole)) defines += 1;
    if (defines > 0) {
      if (/^\s*endef\b/.test(whole)) defines -= 1;
      comment = [];
      continue;
    }
    if (whole.startsWith('#')) {
      comment.push(commentWords(whole));
      continue;
    }
    const above = comment.filter(Boolean).join(' ');
    comment = [];
    if (whole.startsWith('\t') || directive.test(whole.trimStart())) continue;
    const code = whole.trimStart();
    const variable = variableMark.exec(code)?.[1];
    if (variable !== undefined) {
      variables.push({ name: variable, description: trailing(code) || above });
    } else if (!assignment.test(code)) {
      const targets = ruleHead.exec(code)?.[1]?.trim();
      if (targets === undefined) continue;
      // `.PHONY: build` often stands between the comment and the rule.
      if (targets === '.PHONY') comment = above === '' ? [] : [above];
      else rules.push({ file, line, endLine, targets, description: trailing(code) || above });
    }
  }
  return { rules, variables };
}

/**
 * Expands plain references to variables, as in `$(BIN)`.
 * @returns null where it takes make itself, as for functions
 */
export function expandReferences(
  text: string,
  variables: ReadonlyMap<string, string>,
  depth = 0,
): string | null {
  if (depth > 10) return null;
  let expanded = '';
  let rest = text;
  for (;;) {
    const at = rest.indexOf('$');
    if (at === -1) return expanded + rest;
    const reference = /^\$(?:\(([\w.-]+)\)|\{([\w.-]+)\}|(\w))/.exec(rest.slice(at));
    if (!reference) return null;
    const value = variables.get(reference[1] ?? reference[2] ?? reference[3] ?? '') ?? '';
    const inner = expandReferences(value, variables, depth + 1);
    if (inner === null) return null;
    expanded += rest.slice(0, at) + inner;
    rest = rest.slice(at + reference[0].length);
  }
}
