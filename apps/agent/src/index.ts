export { createAgent, type Agent, type AgentOptions } from './agent.ts';
export { shipLimits, type ShipLimits } from './shipper.ts';
