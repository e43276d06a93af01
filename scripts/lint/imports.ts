import path from 'node:path';
import { AST_NODE_TYPES, type TSESLint, type TSESTree } from '@typescript-eslint/utils';

export const root = path.resolve(import.meta.dirname, '..', '..');

/** A file by its place in the project: `apps/server/src/jobs/service.ts`. */
export function toProjectPath(file: string): string {
  return path.relative(root, file).split(path.sep).join('/');
}

export interface Import {
  readonly node: TSESTree.Node;
  /** As written: `kysely`, `@vmo/contract`, `../auth/index.ts`. */
  readonly specifier: string;
  /** The imported file's place in the project; undefined for packages. */
  readonly file: string | undefined;
  readonly typeOnly: boolean;
  /** The names that are imported as values. */
  readonly names: readonly string[];
}

const isPackage = (specifier: string, name: string) => specifier === name || specifier.startsWith(`${name}/`);

/** Whether the import is of one of these packages or of something below them. */
export function isOneOf(specifier: string, packages: readonly string[]): boolean {
  return packages.some((name) => isPackage(specifier, name));
}

function valueNames(node: TSESTree.ImportDeclaration): string[] {
  return node.specifiers
    .filter((one) => one.type !== AST_NODE_TYPES.ImportSpecifier || one.importKind !== 'type')
    .map((one) => {
      if (one.type !== AST_NODE_TYPES.ImportSpecifier) return '*';
      return one.imported.type === AST_NODE_TYPES.Identifier ? one.imported.name : one.imported.value;
    });
}

/** Calls `check` for everything that makes one module depend on another. */
export function forEachImport(
  context: Readonly<TSESLint.RuleContext<string, readonly unknown[]>>,
  check: (found: Import) => void,
): TSESLint.RuleListener {
  const visit = (node: TSESTree.Node, source: unknown, typeOnly: boolean, names: readonly string[]) => {
    if (typeof source !== 'string') return;
    const isFile = source.startsWith('.');
    const file = isFile ? toProjectPath(path.resolve(path.dirname(context.filename), source)) : undefined;
    check({ node, specifier: source, file, typeOnly, names });
  };
  return {
    ImportDeclaration(node) {
      const names = node.importKind === 'type' ? [] : valueNames(node);
      const typeOnly = node.importKind === 'type' || (node.specifiers.length > 0 && names.length === 0);
      visit(node, node.source.value, typeOnly, names);
    },
    ExportNamedDeclaration(node) {
      visit(node, node.source?.value, node.exportKind === 'type', ['*']);
    },
    ExportAllDeclaration(node) {
      visit(node, node.source.value, node.exportKind === 'type', ['*']);
    },
    ImportExpression(node) {
      visit(node, node.source.type === AST_NODE_TYPES.Literal ? node.source.value : undefined, false, ['*']);
    },
    TSImportType(node) {
      visit(node, node.source.value, true, []);
    },
  };
}
