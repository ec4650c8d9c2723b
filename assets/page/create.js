// Keys: Ctrl+Enter draws from anywhere, Esc stops. While a drawing runs, Enter does not ask for another one.
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") dalle.press("stop");
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) dalle.press("draw");
  else if (event.key === "Enter" && dalle.shown("stop") && event.target.closest("#prompt")) event.stopPropagation();
}, true);
