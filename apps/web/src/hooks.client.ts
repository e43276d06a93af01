import { z } from 'zod';
import { giveStylesTheirNonce } from '#lib/csp.ts';
import { session } from '#lib/state/session.svelte.ts';

// Compiled parsers need eval, which the Content-Security-Policy forbids; without this zod tries it and is reported.
z.config({ jitless: true });
giveStylesTheirNonce();
void session.start();
