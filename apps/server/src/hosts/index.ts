export { createHosts, type Hosts, type HostReach } from './service.ts';
