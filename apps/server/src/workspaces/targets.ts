import type { MakeTarget, MakeVariable, TargetList } from '@vmo/contract';
import { parseDatabase, type DatabaseTarget, type MakeDatabase } from './make-database.ts';
import { expandReferences, readSource, type MakefileSource, type SourceRule } from './makefile-source.ts';
import { makefileNames, readDatabase, remakeIncludes, type MakeDirectory, type Stamp } from './make.ts';

const maxCached = 100;

interface CacheEntry {
  /** Of all that was read; as long as they are equal, make would say the same again. */
  stamps: Map<string, Stamp>;
  list: TargetList;
}

const empty: TargetList = { targets: [], variables: [], defaultTarget: null, makefile: null };

async function isFresh({ stamps }: CacheEntry, directory: MakeDirectory): Promise<boolean> {
  const now = await directory.stamps([...stamps.keys()]);
  return [...stamps.values()].every((stamp, index) => now[index] === stamp);
}

/** The rule that a target's recipe belongs to: the last one that begins at or above the recipe. */
function findRuleOf(
  { name, recipe }: DatabaseTarget,
  rules: readonly SourceRule[],
  variables: MakeDatabase['variables'],
) {
  if (!recipe) return undefined;
  const rule = rules.findLast(({ file, line }) => file === recipe.file && line <= recipe.line);
  if (!rule) return undefined;
  const targets = expandReferences(rule.targets, variables);
  // What we cannot expand, and patterns, are taken at their word: the recipe stands right below.
  return targets === null || targets.includes('%') || targets.split(/\s+/).includes(name) ? rule : undefined;
}

/** Every rule by every name on its left side, so that targets without a recipe are found as well. */
function indexRules(
  rules: readonly SourceRule[],
  variables: MakeDatabase['variables'],
): Map<string, SourceRule[]> {
  const byName = new Map<string, SourceRule[]>();
  for (const rule of rules) {
    for (const name of expandReferences(rule.targets, variables)?.split(/\s+/) ?? []) {
      byName.set(name, [...(byName.get(name) ?? []), rule]);
    }
  }
  return byName;
}

function toTargets(database: MakeDatabase, rules: readonly SourceRule[]): MakeTarget[] {
  const { targets, phony, makefiles, variables } = database;
  const byName = indexRules(rules, variables);
  const hidden = new Set([...makefiles, ...database.missingIncludes]);
  return [...targets.values()].flatMap((target): MakeTarget[] => {
    const { name, prerequisites, recipe } = target;
    const named = byName.get(name) ?? [];
    const described = named.find((other) => other.description !== '');
    const rule = findRuleOf(target, rules, variables) ?? described ?? named[0];
    const description = (rule?.description === '' ? described : rule)?.description ?? '';
    const isSpecial = name.startsWith('.') && !name.includes('/');
    // Header files of generated dependencies, FORCE and the like: there is nothing to make.
    const isInert = recipe === null && prerequisites.length === 0 && !phony.has(name) && description === '';
    if (isSpecial || isInert || name.includes('%') || hidden.has(name)) return [];
    const place = rule ? { file: rule.file, line: rule.line } : (recipe ?? { file: null, line: null });
    return [{ name, description, prerequisites, phony: phony.has(name), ...place }];
  });
}

function toVariables({ variables }: MakeDatabase, marked: MakefileSource['variables']): MakeVariable[] {
  const byName = new Map<string, MakeVariable>();
  for (const { name, description } of marked) {
    const value = variables.get(name);
    // Marked in a branch that make did not read.
    if (value === undefined) continue;
    const known = byName.get(name)?.description ?? '';
    byName.set(name, { name, value, description: known === '' ? description : known });
  }
  return [...byName.values()];
}

const inOrder = (place: MakeTarget, makefiles: readonly string[]): [number, number] => [
  place.file === null ? Infinity : makefiles.indexOf(place.file),
  place.line ?? Infinity,
];

/** null: there is no Makefile. */
async function look(directory: MakeDirectory): Promise<CacheEntry | null> {
  let known = await readDatabase(directory);
  if (!known) return null;
  let database = parseDatabase(known.stdout);
  if (database.missingIncludes.length > 0) {
    // Without them even make does not know the targets: it makes them, or says why it cannot.
    await remakeIncludes(directory);
    known = (await readDatabase(directory)) ?? known;
    database = parseDatabase(known.stdout);
  }
  const { makefiles } = database;
  // The directory itself, too: $(wildcard) depends on what is in it.
  const files = [...new Set([...makefiles, '.', ...makefileNames])];
  const found = await directory.read(files);
  const sources = makefiles.map((file) => readSource(file, found[files.indexOf(file)]?.text ?? ''));
  const targets = toTargets(
    database,
    sources.flatMap(({ rules }) => rules),
  ).sort((a, b) => {
    const [[fileA, lineA], [fileB, lineB]] = [inOrder(a, makefiles), inOrder(b, makefiles)];
    return fileA - fileB || lineA - lineB || a.name.localeCompare(b.name);
  });
  return {
    stamps: new Map(files.map((file, index) => [file, found[index]?.stamp ?? null])),
    list: {
      targets,
      variables: toVariables(
        database,
        sources.flatMap(({ variables }) => variables),
      ),
      defaultTarget: database.defaultGoal,
      makefile: known.makefile,
    },
  };
}

export interface Targets {
  /**
   * The targets of the Makefile in a directory, in the order of their definition.
   * @throws CodedError MAKE_FAILED with make's own words, and what the directory's machine answers
   */
  list(directory: MakeDirectory): Promise<TargetList>;
}

/** Asks make, and remembers the answer until one of the files that it read changes. */
export function createTargets(): Targets {
  const cache = new Map<string, CacheEntry>();
  /** People who ask at the same time wait for the same make. */
  const underWay = new Map<string, Promise<TargetList>>();

  async function find(directory: MakeDirectory): Promise<TargetList> {
    const { place } = directory;
    const known = cache.get(place);
    if (known && (await isFresh(known, directory))) return known.list;
    cache.delete(place);
    const entry = await look(directory);
    if (!entry) return empty;
    cache.set(place, entry);
    const [oldest] = cache.keys();
    if (cache.size > maxCached && oldest !== undefined) cache.delete(oldest);
    return entry.list;
  }

  return {
    list(directory) {
      const { place } = directory;
      const found =
        underWay.get(place) ??
        find(directory).finally(() => {
          underWay.delete(place);
        });
      underWay.set(place, found);
      return found;
    },
  };
}
