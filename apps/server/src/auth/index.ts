export { audit } from './audit.ts';
export {
  createAuth,
  holds,
  permit,
  sessionCookie,
  type Auth,
  TooManyAttempts,
  type Credentials,
  type Principal,
} from './service.ts';
export { createOriginPolicy, inUrl, type OriginPolicy } from './origin.ts';
export { loadSecretsKey, loadToken } from './token.ts';
