export { createAgent, type Agent, type AgentOptions } from './agent.ts';
export { takeDataDirectory } from './data-directory.ts';
export { toJobEnvironment, type Environment } from './job-environment.ts';
export { createHttpAgentApi } from './http-api.ts';
export { heldForEver } from './lease.ts';
export { shipLimits, type ShipLimits } from './ship-limits.ts';
