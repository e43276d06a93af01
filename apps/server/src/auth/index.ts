export { audit } from './audit.ts';
export {
  createAuth,
  permit,
  sessionCookie,
  type Auth,
  TooManyAttempts,
  type Credentials,
  type Principal,
} from './service.ts';
export { createOriginPolicy, inUrl, type OriginPolicy } from './origin.ts';
export { loadSecretsKey, loadToken } from './token.ts';
