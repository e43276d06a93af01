import { expect, test } from 'vitest';
import { makeCommand, parseEnv, quote } from './shell.ts';

test('a word is quoted only where the shell would read something else', () => {
  expect(quote('build/stars.txt')).toBe('build/stars.txt');
  expect(quote('two words')).toBe(`'two words'`);
  expect(quote(`it's $(x)`)).toBe(`'it'\\''s $(x)'`);
  expect(quote('')).toBe(`''`);
});

test('a target, its overrides and a dry run become one make command', () => {
  expect(makeCommand('build')).toBe('make build');
  expect(makeCommand('build', { variables: { NAME: 'a b', SPEED: '10' }, dryRun: true })).toBe(
    `make -n build NAME='a b' SPEED=10`,
  );
  expect(makeCommand('-odd')).toBe('make -- -odd');
});

test('lines of NAME=value are read; the first that is none is named', () => {
  expect(parseEnv('A=1\n\n# note\nB=x=y ')).toEqual({ env: { A: '1', B: 'x=y ' } });
  expect(parseEnv('A=1\n2B=3')).toEqual({ wrong: '2B=3' });
});
