import { UnreachableError } from '@vmo/client';
import { CodedError } from '@vmo/contract';
import { describe, expect, it } from 'vitest';
import { CliError } from './exit-codes.ts';
import { describeFailure } from './failure.ts';

const address = () => ({
  ...{ url: 'https://cockpit.example', urlFrom: 'VMO_URL', token: 'x', tokenFrom: 'VMO_TOKEN' },
  ...{ dataDirectory: null, isAnnounced: false },
});
/** As fetch throws it. */
const failedFetch = (code: string) =>
  new UnreachableError('https://cockpit.example', 'no answer', {
    cause: new TypeError('fetch failed', { cause: Object.assign(new Error(code), { code }) }),
  });

describe('what is said about a failure', () => {
  it('names the certificate where that is what is wrong, also behind an error of ours', () => {
    const error = failedFetch('DEPTH_ZERO_SELF_SIGNED_CERT');
    for (const one of [error, new CliError(error.message, 125, { cause: error })]) {
      const { lines } = describeFailure(one, address);
      expect(lines[0]).toBe('no answer');
      expect(lines[1]).toContain('NODE_EXTRA_CA_CERTS');
    }
    expect(describeFailure(failedFetch('ECONNREFUSED'), address).lines[1]).toContain('VMO_URL');
  });

  it('does not tell to start a server that answers', () => {
    const announced = () => ({ ...address(), isAnnounced: true });
    const other = new UnreachableError('https://cockpit.example', 'it answered, but not as a server does');
    expect(describeFailure(other, announced).lines).toEqual([
      'it answered, but not as a server does',
      'The address is https://cockpit.example (VMO_URL).',
    ]);
    expect(describeFailure(failedFetch('ECONNREFUSED'), announced).lines[1]).toContain('vmo up');
  });

  it('names every field that is wrong', () => {
    const issues = [
      { path: 'cpus', message: 'must be at least 1' },
      { path: 'name', message: 'must not be empty' },
    ];
    const { code, lines } = describeFailure(
      new CodedError('INVALID_INPUT', 'all of it', { issues }),
      address,
    );
    expect(code).toBe(2);
    expect(lines).toEqual(['that cannot be:', 'cpus: must be at least 1', 'name: must not be empty']);
  });

  it('shows all of what nobody has thought of', () => {
    const { code, lines } = describeFailure(new TypeError('x is undefined'), address);
    expect(code).toBe(1);
    expect(lines[0]).toMatch(/^this should not have happened: TypeError: x is undefined\n +at /);
  });
});
