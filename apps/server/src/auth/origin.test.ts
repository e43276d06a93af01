import { hostname } from 'node:os';
import { describe, expect, it } from 'vitest';
import { createOriginPolicy } from './origin.ts';

const create = (host: string, allowedOrigins: string[] = [], scheme: 'http' | 'https' = 'http') =>
  createOriginPolicy({ scheme, host, port: () => 8000, allowedOrigins });

describe('an Origin', () => {
  it.each(['http://127.0.0.1:8000', 'http://localhost:8000', 'http://[::1]:8000'])(
    'of this machine is ours: %s',
    (origin) => {
      expect(create('127.0.0.1').allowsOrigin(origin)).toBe(true);
    },
  );

  it.each([
    'null',
    '',
    'file://',
    'http://evil.com',
    'http://evil.com:8000',
    'http://127.0.0.1.evil.com:8000',
    'http://localhost.evil.com:8000',
    'http://localhost:8000.evil.com',
    'http://evil.com/http://localhost:8000',
    'http://localhost:8000@evil.com',
    'http://user@localhost:8000',
    'http://localhost:8000/',
    'http://LOCALHOST:8000',
    'http://localhost',
    'http://localhost:8001',
    'https://localhost:8000',
    'ws://localhost:8000',
    'http://127.1:8000',
    'http://0x7f000001:8000',
    'http://192.168.0.1:8000',
    'http://localhost:8000, http://evil.com',
    'http://localhost:8000 ',
  ])('that is foreign or looks alike is refused: %s', (origin) => {
    expect(create('127.0.0.1').allowsOrigin(origin)).toBe(false);
  });

  it('that is configured is allowed, exactly as it stands there', () => {
    const policy = create('127.0.0.1', ['https://cockpit.example.org']);
    expect(policy.allowsOrigin('https://cockpit.example.org')).toBe(true);
    expect(policy.allowsOrigin('http://cockpit.example.org')).toBe(false);
    expect(policy.allowsOrigin('https://cockpit.example.org.evil.com')).toBe(false);
  });

  it('with TLS must say https', () => {
    const policy = create('127.0.0.1', [], 'https');
    expect(policy.allowsOrigin('https://localhost:8000')).toBe(true);
    expect(policy.allowsOrigin('http://localhost:8000')).toBe(false);
  });

  it('on a wildcard address may be any address or the name of the machine, never another name', () => {
    const policy = create('0.0.0.0');
    expect(policy.allowsOrigin('http://192.168.0.1:8000')).toBe(true);
    expect(policy.allowsOrigin('http://[fe80::1]:8000')).toBe(true);
    expect(policy.allowsOrigin(`http://${hostname().toLowerCase()}:8000`)).toBe(true);
    expect(policy.allowsOrigin('http://192.168.0.1:8001')).toBe(false);
    expect(policy.allowsOrigin('http://rebound.example.org:8000')).toBe(false);
  });
});

describe('a Host header', () => {
  it.each(['127.0.0.1:8000', 'localhost:8000', '[::1]:8000', 'LocalHost:8000'])(
    'with a name of ours is allowed: %s',
    (host) => {
      expect(create('127.0.0.1').allowsHost(host)).toBe(true);
    },
  );

  it.each([
    undefined,
    '',
    'evil.com:8000',
    'localhost',
    'localhost:8001',
    'localhost:8000@evil.com',
    'a b',
    'localhost:8000/x',
    '%00',
  ])('with any other is refused: %s', (host) => {
    expect(create('127.0.0.1').allowsHost(host)).toBe(false);
  });

  it('of a configured origin is allowed', () => {
    expect(create('127.0.0.1', ['https://cockpit.example.org']).allowsHost('cockpit.example.org')).toBe(true);
  });
});
