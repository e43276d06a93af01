/**
 * A document for xterm.js under a Content-Security-Policy without `unsafe-inline`: the <style> elements that it makes
 * get the page's nonce, and nothing of the page itself has to be changed for it.
 */
export function nonceDocument(real: Document, nonce: string): Document {
  function createElement(name: string, options?: ElementCreationOptions): HTMLElement {
    const element = real.createElement(name, options);
    if (name === 'style') element.setAttribute('nonce', nonce);
    return element;
  }
  const bound = new Map<PropertyKey, unknown>([['createElement', createElement]]);
  return new Proxy(real, {
    get(target, key) {
      const known = bound.get(key);
      if (known !== undefined) return known;
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== 'function') return value;
      // The browser's own methods work on a real document only.
      const method: unknown = value.bind(target);
      bound.set(key, method);
      return method;
    },
    set: (target, key, value) => Reflect.set(target, key, value, target),
  });
}

/**
 * xterm.js writes colours of single cells (true colour, contrast) with `setAttribute('style', …)` on <span>s, which
 * such a policy drops although the same through the CSSOM is allowed. Its row factory takes the global document, so
 * that the only place to say so is the prototype of spans. Calling it again changes nothing.
 */
export function allowSpanStyles(): void {
  if (Object.hasOwn(HTMLSpanElement.prototype, 'setAttribute')) return;
  HTMLSpanElement.prototype.setAttribute = function (name: string, value: string): void {
    if (name === 'style') this.style.cssText = value;
    else Element.prototype.setAttribute.call(this, name, value);
  };
}

/** The nonce that the server gave this page; empty where there is no such policy. */
export function pageNonce(): string {
  return document.querySelector<HTMLMetaElement>('meta[name="csp-nonce"]')?.content ?? '';
}
