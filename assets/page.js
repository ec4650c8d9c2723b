() => {
  const shown = (id) => Boolean(document.querySelector(`#${id}`)?.offsetParent);
  const press = (id) => shown(id) && document.querySelector(`#${id}`).click();

  // Keys: Ctrl+Enter draws from anywhere, Esc stops. While a drawing runs, Enter does not ask for another one.
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") press("stop");
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) press("draw");
    else if (event.key === "Enter" && shown("stop") && event.target.closest("#prompt")) event.stopPropagation();
  }, true);

  // Light or dark: the system decides until the visitor does.
  const stored = localStorage.getItem("dalle-lamp");
  if (stored) document.body.classList.toggle("dark", stored === "dark");
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-action=lamp]")) return;
    const dark = document.body.classList.toggle("dark");
    localStorage.setItem("dalle-lamp", dark ? "dark" : "light");
  });

  // The border between the kept rows and the rest follows the slider without asking the server.
  const keepRows = () => {
    const slider = document.querySelector("#rows input[type=range]");
    const plate = document.querySelector("#prime-preview .primed");
    if (slider && plate) plate.style.setProperty("--kept", slider.value / (Number(slider.max) + 1));
  };
  document.addEventListener("input", (event) => event.target.closest("#rows") && keepRows());

  // Cards glide from the order in which they were drawn to the order in which CLIP likes them.
  const places = new Map();
  const settle = (element) => {
    const gallery = element.querySelector(".gallery");
    const glide = gallery.dataset.stage === "done" && !matchMedia("(prefers-reduced-motion: reduce)").matches;
    for (const card of gallery.querySelectorAll(".card")) {
      const before = places.get(card.dataset.index);
      const place = { x: card.offsetLeft, y: card.offsetTop };
      places.set(card.dataset.index, place);
      if (!glide || !before) continue;
      const start = `translate(${before.x - place.x}px, ${before.y - place.y}px)`;
      card.animate([{ transform: start }, {}], { duration: 700, easing: "cubic-bezier(.2, .7, .1, 1)" });
    }
  };

  window.dalle = { keepRows, settle };
};
