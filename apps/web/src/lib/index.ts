export { preferences } from './state/preferences.svelte.ts';
