import { AST_NODE_TYPES, ESLintUtils, type TSESLint, type TSESTree } from '@typescript-eslint/utils';
import { forEachImport, isOneOf, toProjectPath, type Import } from './imports.ts';

/*
 * The ten rules of ARCHITECTURE.md as lint rules: each message says what to do instead. They read file names and
 * syntax only (no types), so they cost nothing beside the typed rules.
 */

const isTest = (file: string) => /\.test\.|(^|\/)testing\.ts$/.test(file) || file.startsWith('tests/');
const isServer = (file: string) => file.startsWith('apps/server/src/');

/** The folders of the server that are not domains. */
const surroundings = new Set(['http', 'realtime', 'kernel']);

/** `jobs` for a file in apps/server/src/jobs; undefined outside of the domains. */
function domainOf(file: string): string | undefined {
  const folder = /^apps\/server\/src\/([^/]+)\//.exec(file)?.[1];
  return folder === undefined || surroundings.has(folder) ? undefined : folder;
}

/** A domain may use those before it; hosts, workspaces and agents stand side by side. */
const order: readonly (readonly string[])[] = [
  ['auth'],
  ['workspaces', 'hosts', 'agents'],
  ['jobs'],
  ['vms'],
  ['requests'],
  ['requests'],
];
const rank = (domain: string) => order.findIndex((names) => names.includes(domain));

type Create = (
  file: string,
  report: (node: TSESTree.Node) => void,
  context: Readonly<TSESLint.RuleContext<'instead', []>>,
) => TSESLint.RuleListener;

/** A rule with one message; `create` gets the linted file's place in the project. */
function rule(instead: string, create: Create) {
  return ESLintUtils.RuleCreator.withoutDocs<[], 'instead'>({
    meta: { type: 'problem', schema: [], messages: { instead }, defaultOptions: [] },
    create: (context) =>
      create(
        toProjectPath(context.filename),
        (node) => {
          context.report({ node, messageId: 'instead' });
        },
        context,
      ),
  });
}

/** A rule about imports: `from` chooses the files, `forbids` the imports. */
function importRule(
  instead: string,
  from: (file: string) => boolean,
  forbids: (found: Import, file: string) => boolean,
) {
  return rule(instead, (file, report, context) =>
    from(file)
      ? forEachImport(context, (found) => {
          if (forbids(found, file)) report(found.node);
        })
      : {},
  );
}

const contractImportsZodOnly = importRule(
  'The contract imports zod and its own files only, so that every program can use it: move what needs more to the package that needs it.',
  (file) => file.startsWith('packages/contract/') && !isTest(file),
  ({ specifier, file }) =>
    file === undefined ? !isOneOf(specifier, ['zod']) : !file.startsWith('packages/contract/'),
);

const domainKnowsNoTransport = importRule(
  'A domain knows no transport: return a value, throw a CodedError or emit a fact on the bus, and let http/ or realtime/ speak to the network.',
  (file) => domainOf(file) !== undefined && !isTest(file),
  ({ specifier, file }) =>
    isOneOf(specifier, ['express', 'helmet', 'socket.io', 'node:http', 'node:https', 'http', 'https']) ||
    /^apps\/server\/src\/(http|realtime)\//.test(file ?? ''),
);

const domainOrder = importRule(
  'Domains meet through index.ts and in one order (auth, then workspaces, hosts and agents, then jobs, vms, requests); kernel/ imports only the contract. Export it from the index.ts of an earlier domain, or have server.ts pass it in.',
  (file) => isServer(file) && !isTest(file),
  ({ specifier, file: target }, file) => {
    const own = domainOf(file);
    if (file.startsWith('apps/server/src/kernel/')) {
      return target === undefined
        ? specifier.startsWith('@vmo/') && !isOneOf(specifier, ['@vmo/contract'])
        : !target.startsWith('apps/server/src/kernel/');
    }
    if (target === undefined) return false;
    const other = domainOf(target);
    if (own !== undefined && other === undefined) {
      // server.ts, config.ts and main.ts lie above the domains.
      return isServer(target) && !/^apps\/server\/src\/(kernel|http|realtime)\//.test(target);
    }
    if (other === undefined || other === own) return false;
    if (target !== `apps/server/src/${other}/index.ts`) return true;
    return own !== undefined && rank(other) >= rank(own);
  },
);

const isSqlPlace = (file: string) => /(^|\/)([a-z-]+-)?repository\.ts$/.test(file) || file.startsWith('db/');
const statements = new Set([
  'selectFrom',
  'selectNoFrom',
  'insertInto',
  'updateTable',
  'deleteFrom',
  'mergeInto',
  'replaceInto',
]);

const sqlInRepository = rule(
  'SQL lives in repository.ts (or in db/): write a function there, named after what it answers, that takes the Kysely or transaction first. Elsewhere only the types of kysely are imported.',
  (file, report, context) => {
    if (
      !/^(apps|packages)\//.test(file) ||
      isSqlPlace(file) ||
      isTest(file) ||
      file.startsWith('packages/testkit/')
    ) {
      return {};
    }
    return {
      ...forEachImport(context, ({ node, specifier, typeOnly }) => {
        if (isOneOf(specifier, ['pg']) || (isOneOf(specifier, ['kysely']) && !typeOnly)) report(node);
      }),
      'CallExpression > MemberExpression.callee'(node: TSESTree.MemberExpression) {
        if (node.property.type === AST_NODE_TYPES.Identifier && statements.has(node.property.name))
          report(node);
      },
    };
  },
);

const composition = rule(
  'Only server.ts puts things together: take what you need as an argument of your factory (no container, decorators or base classes), and let server.ts pass it in.',
  (file, report, context) => {
    const folder = /^apps\/server\/src\/([^/]+)\//.exec(file)?.[1];
    const listener: TSESLint.RuleListener = {
      Decorator: report,
      ClassDeclaration(node) {
        const base = node.superClass;
        const extendsBase =
          base?.type === AST_NODE_TYPES.Identifier && /^(Base|Abstract)|Base$/.test(base.name);
        if (node.abstract || extendsBase) report(node);
      },
    };
    if (folder === undefined || isTest(file)) return listener;
    return {
      ...listener,
      ...forEachImport(context, ({ node, specifier, file: target, names }) => {
        const elsewhere =
          target === undefined
            ? isOneOf(specifier, ['@vmo/agent', '@vmo/execution', '@vmo/hypervisor', '@vmo/db'])
            : true;
        const sameFolder = target?.startsWith(`apps/server/src/${folder}/`) === true;
        if (elsewhere && !sameFolder && names.some((name) => /^(create|connect|start)[A-Z]/.test(name)))
          report(node);
      }),
    };
  },
);

const capabilityKnowsNoServer = importRule(
  'execution and hypervisor know the operating system and nothing of databases, HTTP, sockets or users: hand the value in as an argument, or report it by a callback, and let the agent or the server do that part.',
  (file) => /^packages\/(execution|hypervisor)\//.test(file) && !isTest(file),
  ({ specifier, file }) =>
    file === undefined
      ? isOneOf(specifier, [
          ...[
            'pg',
            'kysely',
            'express',
            'socket.io',
            'socket.io-client',
            'node:http',
            'node:https',
            'http',
            'https',
          ],
          ...['@vmo/db', '@vmo/server', '@vmo/agent', '@vmo/client', '@vmo/web', '@vmo/testkit'],
        ])
      : !/^packages\/(execution|hypervisor)\//.test(file),
);

const environmentAtTheDoor = rule(
  'Only main.ts and config.ts read process.env or call process.exit: take the value as an argument, and end by returning or throwing.',
  (file, report) => {
    const isDoor = /(^|[/-])(main|config)\.ts$|^apps\/cli\/bin\//.test(file);
    if (!/^(apps|packages|db)\//.test(file) || isDoor || isTest(file)) return {};
    const names = new Set(['env', 'exit', 'exitCode']);
    return {
      MemberExpression(node) {
        if (node.object.type !== AST_NODE_TYPES.Identifier || node.object.name !== 'process') return;
        const { property } = node;
        const name =
          property.type === AST_NODE_TYPES.Identifier && !node.computed ? property.name : undefined;
        const literal = property.type === AST_NODE_TYPES.Literal ? property.value : name;
        if (typeof literal === 'string' && names.has(literal)) report(node);
      },
      'VariableDeclarator[init.name="process"] > ObjectPattern > Property'(node: TSESTree.Property) {
        if (node.key.type === AST_NODE_TYPES.Identifier && names.has(node.key.name)) report(node);
      },
    };
  },
);

const networkGlobals = new Set(['fetch', 'XMLHttpRequest', 'WebSocket', 'EventSource']);

const throughTheClient = rule(
  'Web, command line and agents reach the server through @vmo/client only: call its method, and where there is none, add the route or event to the contract.',
  (file, report, context) => {
    if (!/^apps\/(web|cli|agent)\/src\//.test(file) || isTest(file)) return {};
    return {
      ...forEachImport(context, ({ node, specifier, file: target }) => {
        const forbidden = [
          'socket.io-client',
          'engine.io-client',
          'node:http',
          'node:https',
          'http',
          'https',
          'undici',
        ];
        if (isOneOf(specifier, [...forbidden, 'ws', '@vmo/server', '@vmo/db'])) report(node);
        if (target?.startsWith('apps/server/') === true) report(node);
      }),
      'CallExpression, NewExpression'(node: TSESTree.CallExpression | TSESTree.NewExpression) {
        const { callee } = node;
        if (callee.type === AST_NODE_TYPES.Identifier && networkGlobals.has(callee.name)) report(node);
        if (
          callee.type === AST_NODE_TYPES.MemberExpression &&
          callee.object.type === AST_NODE_TYPES.Identifier &&
          ['window', 'globalThis', 'self', 'navigator'].includes(callee.object.name) &&
          callee.property.type === AST_NODE_TYPES.Identifier &&
          (networkGlobals.has(callee.property.name) || callee.property.name === 'sendBeacon')
        ) {
          report(node);
        }
      },
    };
  },
);

/** The last word of what stands in the template: `job.id`, `String(lastSeq)`. */
function lastName(node: TSESTree.Expression): string {
  if (node.type === AST_NODE_TYPES.Identifier) return node.name;
  if (node.type === AST_NODE_TYPES.MemberExpression && node.property.type === AST_NODE_TYPES.Identifier) {
    return node.property.name;
  }
  const argument = node.type === AST_NODE_TYPES.CallExpression ? node.arguments[0] : undefined;
  return argument !== undefined && argument.type !== AST_NODE_TYPES.SpreadElement ? lastName(argument) : '';
}

const hintsCarryIds = rule(
  'A NOTIFY is a hint: it carries ids and sequence numbers, never content. Send the id, and let the receiver read the row again.',
  (_file, report) => ({
    TemplateLiteral(node) {
      const text = node.quasis.map((quasi) => quasi.value.raw).join('?');
      if (!/pg_notify\s*\(|^\s*notify\s/i.test(text)) return;
      if (node.expressions.some((one) => !/(id|ids|seq|channel)$/i.test(lastName(one)))) report(node);
    },
  }),
);

const shells = /^(\/(usr\/)?bin\/)?(sh|bash|dash|zsh|ksh|cmd|cmd\.exe|powershell|pwsh)$/;
const starters = new Set(['spawn', 'spawnSync', 'execFile', 'execFileSync', 'fork']);
const childProcess = ['child_process', 'node:child_process'];

const noShell = rule(
  'Nothing but the job itself runs in a shell: start the program with spawn or execFile and an argument vector (`--` before what a person gave).',
  (file, report, context) => {
    // What starts the job's own command is in execution; tests and scripts start programs of the machine.
    const mayNameShell = /^(packages\/execution|packages\/testkit|scripts)\//.test(file) || isTest(file);
    return {
      ...forEachImport(context, ({ node, specifier, names }) => {
        const wanted = names.some((name) => name === 'exec' || name === 'execSync');
        if (isOneOf(specifier, childProcess) && wanted) report(node);
      }),
      CallExpression(node) {
        const { callee } = node;
        const isMember = callee.type === AST_NODE_TYPES.MemberExpression;
        const named = isMember ? callee.property : callee;
        const name = named.type === AST_NODE_TYPES.Identifier ? named.name : '';
        const owner = isMember && callee.object.type === AST_NODE_TYPES.Identifier ? callee.object.name : '';
        if (name === 'execSync' || (name === 'exec' && /^(child_?process|cp)$/i.test(owner))) report(node);
        if (!starters.has(name)) return;
        const [program] = node.arguments;
        if (!mayNameShell && program?.type === AST_NODE_TYPES.Literal && shells.test(String(program.value)))
          report(node);
        for (const argument of node.arguments) {
          if (argument.type !== AST_NODE_TYPES.ObjectExpression) continue;
          for (const property of argument.properties) {
            if (property.type !== AST_NODE_TYPES.Property || property.key.type !== AST_NODE_TYPES.Identifier)
              continue;
            const isFalse = property.value.type === AST_NODE_TYPES.Literal && property.value.value === false;
            if (property.key.name === 'shell' && !isFalse) report(property);
          }
        }
      },
    };
  },
);

/** In the order of ARCHITECTURE.md. */
export const rules = {
  'contract-imports-zod-only': contractImportsZodOnly,
  'domain-knows-no-transport': domainKnowsNoTransport,
  'domain-order': domainOrder,
  'sql-in-repository': sqlInRepository,
  composition,
  'capability-knows-no-server': capabilityKnowsNoServer,
  'environment-at-the-door': environmentAtTheDoor,
  'through-the-client': throughTheClient,
  'hints-carry-ids': hintsCarryIds,
  'no-shell': noShell,
};
