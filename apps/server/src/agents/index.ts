export { planLease } from './lease.ts';
export { createAgents, type Agents, type FleetMember } from './service.ts';
