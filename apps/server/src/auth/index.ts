export { audit } from './audit.ts';
export {
  createAuth,
  holds,
  permit,
  sessionCookie,
  type AgentPrincipal,
  type Auth,
  TooManyAttempts,
  type Credentials,
  type Principal,
} from './service.ts';
export { createOriginPolicy, inUrl, type OriginPolicy } from './origin.ts';
export { hashSecret, newSecret } from './secrets.ts';
export { loadSecretsKey, loadToken } from './token.ts';
