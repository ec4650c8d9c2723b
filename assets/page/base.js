// Every file of this folder runs once, in order, inside one function, before the components of the page begin;
// `dalle` is what they share.
const dalle = (window.dalle = {
  shown: (id) => Boolean(document.querySelector(`#${id}`)?.offsetParent),
  press: (id) => dalle.shown(id) && document.querySelector(`#${id}`).click(),
  calm: () => matchMedia("(prefers-reduced-motion: reduce)").matches,
  // <name class="…">text</name>, with attributes
  make: (name, attributes = {}, ...content) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...content);
    return made;
  },
  // What this browser keeps; where it keeps nothing (private windows, full disks), the page works without.
  recall: (key, otherwise) => {
    try { return JSON.parse(localStorage.getItem(key)) ?? otherwise; } catch { return otherwise; }
  },
  keep: (key, value) => {
    try { localStorage.setItem(key, JSON.stringify(value)); return true; } catch { return false; }
  },
});

// Light or dark: the system decides until the visitor does.
{
  const KEY = "dalle-lamp";
  const light = () => {
    const chosen = dalle.recall(KEY);
    if (chosen) document.body.classList.toggle("dark", chosen === "dark");
  };
  document.addEventListener("DOMContentLoaded", light);
  light();
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-action=lamp]")) return;
    const dark = document.body.classList.toggle("dark");
    dalle.keep(KEY, dark ? "dark" : "light");
  });
}
