// Runs before the page is drawn, so that the theme does not flash: data-theme is what is shown, data-chosen what was asked for.
(() => {
  const root = document.documentElement;
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const apply = () => {
    const { chosen } = root.dataset;
    root.dataset.theme = chosen === 'auto' ? (dark.matches ? 'dark' : 'light') : chosen;
  };
  const stored = localStorage.getItem('tickcast-theme');
  root.dataset.chosen = stored === 'light' || stored === 'dark' ? stored : 'auto';
  apply();
  dark.addEventListener('change', apply);
  new MutationObserver(apply).observe(root, { attributeFilter: ['data-chosen'] });
})();
