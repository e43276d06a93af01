// Before the first paint, so that the page never flashes in the other theme. Reads what preferences.svelte.ts keeps.
(function () {
  var theme = 'system';
  try {
    theme = JSON.parse(localStorage.getItem('vmo.preferences') || '{}').theme || 'system';
  } catch {
    // Storage switched off, or not ours: the system's theme it is.
  }
  var dark = theme === 'dark' || (theme !== 'light' && !matchMedia('(prefers-color-scheme: light)').matches);
  document.documentElement.dataset.theme = dark ? 'dark' : 'light';
})();
