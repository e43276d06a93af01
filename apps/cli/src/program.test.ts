import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { createProgram } from './program.ts';
import type { World } from './world.ts';

const world: World = {
  env: {},
  cwd: '/',
  home: '/',
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  onSignal: () => () => undefined,
};

const all = (command: Command): Command[] => [command, ...command.commands.flatMap(all)];

function helpOf(command: Command): string {
  let help = '';
  command.configureOutput({ writeOut: (text) => (help += text) });
  command.outputHelp();
  return help;
}

describe('every command', () => {
  const program = createProgram(world, () => undefined);
  const people = all(program).filter((command) => !command.name().startsWith('__') && command !== program);

  it('says in its help what it does, and has examples, unless it only holds others', () => {
    expect(people.length).toBeGreaterThan(40);
    for (const command of people) {
      const help = helpOf(command);
      expect(command.description(), command.name()).toMatch(/^[A-Z].*\.$/s);
      if (command.commands.length === 0) expect(help, command.name()).toMatch(/^Examples:$/m);
    }
  });

  it('of requests is there behind vmo cli as well', () => {
    const names = (command: Command | undefined) => command?.commands.map((one) => one.name()) ?? [];
    const old = ['list-requests', 'show-request', 'show-logs', 'delete-request', 'stats'];
    expect(names(program)).toEqual(expect.arrayContaining(old));
    expect(names(program.commands.find((one) => one.name() === 'cli'))).toEqual(expect.arrayContaining(old));
  });
});
