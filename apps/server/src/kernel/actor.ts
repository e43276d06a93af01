/** Who does something, as the audit log names them. */
export interface Actor {
  /** User name; one user exists until accounts come: `owner`. */
  name: string;
  sessionId: string | null;
  /** Remote address of the request, null for the cockpit itself. */
  address: string | null;
}
