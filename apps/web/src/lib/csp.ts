/**
 * Libraries that create `<style>` elements (the pane dividers' cursor, the terminal) know nothing of nonces, and
 * the Content-Security-Policy allows no other inline style: every style element gets the nonce of this page.
 */
export function giveStylesTheirNonce(): void {
  const nonce = document.querySelector<HTMLMetaElement>('meta[name="csp-nonce"]')?.content;
  if (!nonce) return;
  // The general signature of this method is the deprecated one; wrapping it means wrapping that.
  /* eslint-disable @typescript-eslint/no-deprecated */
  const create = document.createElement.bind(document);
  document.createElement = (name: string, options?: ElementCreationOptions) => {
    const element = create(name, options);
    if (element instanceof HTMLStyleElement) element.nonce = nonce;
    return element;
  };
}
