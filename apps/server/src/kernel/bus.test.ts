import { expect, it } from 'vitest';
import { createBus } from './bus.ts';

it('tells everybody in order, and a listener that throws stops nobody', () => {
  const errors: unknown[] = [];
  const heard: string[] = [];
  const bus = createBus((error) => errors.push(error));
  const failure = new Error('broken');
  bus.on('session:ended', () => {
    throw failure;
  });
  const stop = bus.on('session:ended', ({ sessionId }) => heard.push(sessionId));
  bus.emit('session:ended', { sessionId: 'a' });
  bus.emit('session:ended', { sessionId: 'b' });
  stop();
  bus.emit('session:ended', { sessionId: 'c' });
  expect(heard).toEqual(['a', 'b']);
  expect(errors).toEqual([failure, failure, failure]);
});
