/** A place in a Makefile, as make names it. */
export interface Place {
  file: string;
  line: number;
}

export interface DatabaseTarget {
  name: string;
  prerequisites: string[];
  /** Where its recipe begins; null: it has none. */
  recipe: Place | null;
}

export interface MakeDatabase {
  targets: Map<string, DatabaseTarget>;
  phony: Set<string>;
  /** As written on the right side; references to other variables are not expanded. */
  variables: Map<string, string>;
  /** Every Makefile that was read, in order. */
  makefiles: string[];
  /** Files that must be included and are not there. */
  missingIncludes: string[];
  defaultGoal: string | null;
}

const recipeLine = /^# {2}(?:recipe|commands) to execute \(from ['`](.*)', line (\d+)\):$/;
/** `name: a b | c`; a name may hold a colon, as in a Windows path, but not a colon and a space. */
const ruleLine = /^(.+?)(::?)(?: (.*))?$/;
/** `name: VARIABLE := value`: the same shape, and not a rule. */
const targetVariable = /^[^:]+:{1,2} (?:(?:override|export|private|define) )*\S+ (?:[:?+!]|::)?=/;
const variableLine = /^([^\s:#=]+) (?:[?:+!]|::)?= ?(.*)$/;

/** The part of make's output that is its database; before it stands whatever the Makefile prints. */
function* databaseLines(output: string): Generator<string> {
  const start = output.lastIndexOf('\n# Make data base, printed on');
  yield* (start === -1 ? '' : output.slice(start)).split('\n');
}

function readVariables(lines: readonly string[]): Map<string, string> {
  const variables = new Map<string, string>();
  let inDefinition = false;
  for (const line of lines) {
    if (inDefinition || /^(override )?define /.test(line)) {
      inDefinition = line !== 'endef';
      continue;
    }
    const [, name, value] = variableLine.exec(line) ?? [];
    if (name !== undefined) variables.set(name, (value ?? '').trim());
  }
  return variables;
}

function readTargets(
  lines: readonly string[],
): Pick<MakeDatabase, 'targets' | 'phony'> & { absent: Set<string> } {
  const targets = new Map<string, DatabaseTarget>();
  const phony = new Set<string>();
  const absent = new Set<string>();
  let current: DatabaseTarget | null = null;
  let isTarget = true;

  for (const line of lines) {
    if (line === '') {
      current = null;
      isTarget = true;
    } else if (line === '# Not a target:') {
      isTarget = false;
    } else if (current) {
      if (line === '#  File does not exist.') absent.add(current.name);
      const [, file, number] = recipeLine.exec(line) ?? [];
      if (file !== undefined) current.recipe ??= { file, line: Number(number) };
    } else if (!line.startsWith('#') && !line.startsWith('\t') && !targetVariable.test(line)) {
      const [, name, , rest = ''] = ruleLine.exec(line) ?? [];
      if (name === undefined) continue;
      const prerequisites = rest.split(/\s+/).filter((word) => word !== '' && word !== '|');
      if (name === '.PHONY') for (const prerequisite of prerequisites) phony.add(prerequisite);
      // Rules with a double colon stand one by one; to a person they are one target.
      const known = targets.get(name);
      current = known ?? { name, prerequisites: [], recipe: null };
      current.prerequisites.push(...prerequisites.filter((word) => !known?.prerequisites.includes(word)));
      if (isTarget) targets.set(name, current);
    }
  }
  return { targets, phony, absent };
}

/** Reads what `make --print-data-base --debug=v` printed after a stop at the end of reading. */
export function parseDatabase(output: string): MakeDatabase {
  const lines = [...databaseLines(output)];
  const files = lines.indexOf('# Files');
  const end = lines.indexOf('# files hash-table stats:');
  const variables = readVariables(lines.slice(0, files));
  const { targets, phony, absent } = readTargets(lines.slice(files + 1, end));
  const defaultGoal = variables.get('.DEFAULT_GOAL') ?? '';
  const included = [...output.matchAll(/^ *Reading makefile ['`](.*?)'(.*)\.\.\.$/gm)];
  return {
    targets,
    phony,
    variables,
    // The last one is ours.
    makefiles: (variables.get('MAKEFILE_LIST') ?? '').split(/\s+/).filter(Boolean).slice(0, -1),
    missingIncludes: included.flatMap(([, file = '', remarks = '']) =>
      absent.has(file) && !remarks.includes("(don't care)") ? [file] : [],
    ),
    defaultGoal: defaultGoal === '' ? null : defaultGoal,
  };
}
