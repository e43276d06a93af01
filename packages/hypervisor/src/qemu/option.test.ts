import { expect, it } from 'vitest';
import { option } from './option.ts';

it('doubles commas, so that a value stays one', () => {
  expect(option('socket', { id: 'a', path: '/x,server=off,,', wait: false, size: 3 })).toBe(
    'socket,id=a,path=/x,,server=off,,,,,wait=off,size=3',
  );
  expect(option(null, { guest: 'a,process=b' })).toBe('guest=a,,process=b');
  expect(option('user,hostfwd=tcp::1-:22')).toBe('user,,hostfwd=tcp::1-:22');
});
