// Before the first paint: the theme and the language that were chosen here, or that the browser asks for.
(function () {
  function kept(name) {
    try {
      return localStorage.getItem(name);
    } catch {
      return null; // storage is closed to this page: nothing is kept
    }
  }
  const theme = kept("weighbridge-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  const language = kept("weighbridge-language") || navigator.language || "en";
  document.documentElement.lang = language.toLowerCase().startsWith("zh") ? "zh-CN" : "en";
})();
