import js from '@eslint/js';
import prettier from 'eslint-config-prettier';
import svelte from 'eslint-plugin-svelte';
import { defineConfig, globalIgnores } from 'eslint/config';
import globals from 'globals';
import ts from 'typescript-eslint';
import { rules as architecture } from './scripts/lint/architecture.ts';

/** TypeScript with types: everything but the few plain scripts that run before there are packages. */
const typed = ['**/*.ts', '**/*.svelte'];
const svelteFiles = ['**/*.svelte', '**/*.svelte.ts'];

/**
 * For `.svelte.ts`: runes are declared functions, so TypeScript's own parser reads these files as svelte-check does.
 * Svelte's hands TypeScript another text than the file has, and after each of them the whole web UI is checked anew.
 * The rules of its plugin get what they ask their parser for.
 */
const scriptParser = {
  meta: { name: 'vmo/svelte-script', version: '1' },
  parseForESLint(code, options) {
    const parsed = ts.parser.parseForESLint(code, options);
    const services = { ...parsed.services, svelteParseContext: { runes: true } };
    return { ...parsed, services };
  },
};

export default defineConfig(
  globalIgnores([
    '**/node_modules/',
    '**/build/',
    '**/.svelte-kit/',
    '**/coverage/',
    '**/test-results/',
    '**/playwright-report/',
    '.node/',
    '.node-fetch.*/',
    '.cache/',
  ]),
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  js.configs.recommended,
  {
    files: typed,
    extends: [ts.configs.strictTypeChecked, ts.configs.stylisticTypeChecked],
    languageOptions: {
      parserOptions: {
        projectService: true,
        tsconfigRootDir: import.meta.dirname,
        extraFileExtensions: ['.svelte'],
      },
    },
    rules: {
      // A number in a message is what it looks like.
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      // `_name` says that a parameter is there for the ones behind it.
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/ban-ts-comment': [
        'error',
        { 'ts-ignore': true, 'ts-nocheck': true, 'ts-expect-error': 'allow-with-description' },
      ],
      '@typescript-eslint/no-unnecessary-condition': [
        'error',
        { allowConstantLoopConditions: 'only-allowed-literals' },
      ],
      // A promise in an interface is a promise, whether or not this implementation has to wait.
      '@typescript-eslint/require-await': 'off',
      // Factories return closures; their methods know no `this` and may be passed on.
      '@typescript-eslint/unbound-method': 'off',
      // Takes Express's request and a Kysely transaction for impostors of their own base classes.
      '@typescript-eslint/no-unsafe-class-instance-assignment': 'off',
      // Terminal output is made of control characters.
      'no-control-regex': 'off',
      eqeqeq: 'error',
      'no-console': 'error',
    },
  },
  {
    files: svelteFiles,
    extends: [svelte.configs.recommended],
    languageOptions: {
      globals: globals.browser,
      parserOptions: { parser: ts.parser },
    },
    rules: {
      'svelte/no-at-html-tags': 'error',
      'svelte/button-has-type': 'error',
      'svelte/no-target-blank': 'error',
      // TypeScript knows better which names there are.
      'no-undef': 'off',
      // A state class decides which of its collections anybody looks at.
      'svelte/prefer-svelte-reactivity': 'off',
      // The UI always lives at the root of its origin.
      'svelte/no-navigation-without-resolve': 'off',
      // `void x` in an effect says that it depends on x.
      '@typescript-eslint/no-meaningless-void-operator': 'off',
    },
  },
  {
    // The linter's TypeScript does not see through component props: it takes half of them for `any`, and needs minutes
    // for it. Types in components are svelte-check's work.
    files: ['**/*.svelte'],
    extends: [ts.configs.disableTypeChecked],
    languageOptions: { parserOptions: { projectService: false } },
  },
  { files: ['**/*.js', '**/*.mjs'], languageOptions: { globals: globals.node } },
  { files: ['apps/web/src/**', 'apps/web/static/**'], languageOptions: { globals: globals.browser } },
  { files: ['scripts/**', 'tests/**', 'packages/testkit/**'], rules: { 'no-console': 'off' } },
  {
    plugins: { vmo: { rules: architecture } },
    rules: Object.fromEntries(Object.keys(architecture).map((name) => [`vmo/${name}`, 'error'])),
  },
  svelte.configs.prettier,
  prettier,
  // Last: each configuration of Svelte's plugin sets its parser again.
  { files: ['**/*.svelte.ts'], languageOptions: { parser: scriptParser } },
);
