import { delimiter } from 'node:path';

export type Environment = Readonly<Record<string, string | undefined>>;

/** PATH entries that npm puts in front while it runs a script, and our own Node. */
const notForJobs = /\/node_modules\/\.bin\/?$|\/node-gyp-bin\/?$|\/\.node\/node_modules\//;

/** The environment of the program less what is the cockpit's own: its settings and secrets, and the traces of npm. */
export function toJobEnvironment(environment: Environment): Record<string, string> {
  const added = new Set(environment.VMO_ADDED_VARIABLES?.split(' ')); // by run.sh
  const kept = Object.entries(environment).filter(
    (entry): entry is [string, string] =>
      entry[1] !== undefined &&
      !added.has(entry[0]) &&
      !/^(VMO_|PG[A-Z]|npm_)|^(DATABASE_URL|INIT_CWD|NODE_COMPILE_CACHE)$/.test(entry[0]),
  );
  return Object.fromEntries(
    kept.map(([name, value]) =>
      name === 'PATH'
        ? [
            name,
            value
              .split(delimiter)
              .filter((entry) => !notForJobs.test(entry))
              .join(delimiter),
          ]
        : [name, value],
    ),
  );
}
