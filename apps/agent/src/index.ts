export { createAgent, type Agent, type AgentOptions } from './agent.ts';
export { takeDataDirectory } from './data-directory.ts';
export { heldForEver } from './lease.ts';
export { shipLimits, type ShipLimits } from './shipper.ts';
