// Every file of this folder runs once, in order, inside one function; `dalle` is what they share.
const dalle = (window.dalle = {
  shown: (id) => Boolean(document.querySelector(`#${id}`)?.offsetParent),
  press: (id) => dalle.shown(id) && document.querySelector(`#${id}`).click(),
  calm: () => matchMedia("(prefers-reduced-motion: reduce)").matches,
});

// Light or dark: the system decides until the visitor does.
{
  const stored = localStorage.getItem("dalle-lamp");
  if (stored) document.body.classList.toggle("dark", stored === "dark");
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-action=lamp]")) return;
    const dark = document.body.classList.toggle("dark");
    localStorage.setItem("dalle-lamp", dark ? "dark" : "light");
  });
}
