// The wall. Cards glide from the order in which they were drawn to the order in which CLIP likes them; a click on one
// is told to the server or done here.
{
  const EASE = { duration: 700, easing: "cubic-bezier(.2, .7, .1, 1)" };
  let places = new Map();

  // Moves the cards, and lets them be seen moving.
  const glide = (gallery, move) => {
    move?.();
    const before = places;
    places = new Map();
    for (const card of gallery.querySelectorAll(".card")) {
      const place = { x: card.offsetLeft, y: card.offsetTop, width: card.offsetWidth };
      places.set(card.dataset.index, place);
      const from = before.get(card.dataset.index);
      if (!from || gallery.dataset.stage !== "done" || dalle.calm()) continue;
      const start = `translate(${from.x - place.x}px, ${from.y - place.y}px) scale(${from.width / place.width || 1})`;
      card.animate([{ transform: start, transformOrigin: "0 0" }, { transform: "none", transformOrigin: "0 0" }], EASE);
    }
  };

  const sort = (section, by) => {
    for (const button of section.querySelectorAll("[data-order]"))
      button.setAttribute("aria-pressed", String(button.dataset.order === by));
    const gallery = section.querySelector(".gallery");
    const cards = [...gallery.children].sort((one, other) => one.dataset[by] - other.dataset[by]);
    glide(gallery, () => gallery.append(...cards));
  };

  const address = (section) =>
    (section.dataset.home || location.origin + location.pathname) + "?" + section.dataset.link;

  // The link is shown as well as copied: not every browser lets a page write to the clipboard.
  const share = async (section, button) => {
    const line = section.querySelector(".address"), field = line.querySelector("input");
    field.value = address(section);
    line.hidden = false;
    try {
      await navigator.clipboard.writeText(field.value);
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy link"), 2000);
    } catch {
      field.focus();
    }
    field.select();
  };

  const ACTS = {
    star: (card) => dalle.star(card),
    reuse: (card, section, trigger) => trigger("reuse", { link: section.dataset.link }),
    share: (card, section, trigger, button) => share(section, button),
  };
  for (const how of ["vary", "continue"])
    ACTS[how] = (card, section, trigger) => {
      trigger("vary", { link: section.dataset.link, name: card.dataset.name, how });
      dalle.openPriming();
    };

  dalle.gallery = (element, trigger, watch) => {
    watch("value", () => {
      const sweep = element.querySelector(".sweep");
      if (sweep) return dalle.columns(sweep);
      const gallery = element.querySelector(".gallery");
      glide(gallery);
      if (gallery.dataset.stage === "done") dalle.remember(element.querySelector(".drawn"));
    });
    element.addEventListener("click", (event) => {
      const section = event.target.closest("[data-link]");
      const order = event.target.closest("[data-order]");
      if (order) sort(section, order.dataset.order);
      const plate = event.target.closest("a.plate");
      if (plate && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
        event.preventDefault();
        dalle.view(plate.closest(".card"));
      }
      const button = event.target.closest("[data-act]");
      if (button) ACTS[button.dataset.act](button.closest(".card"), section, trigger, button);
    });
  };
}

// A PNG that is dropped anywhere brings its recipe back; on the panel for a picture to continue it means that picture.
dalle.receive = (trigger) => {
  const ours = (event) => event.dataTransfer?.types.includes("Files") && !event.target.closest("#priming");
  document.addEventListener("dragover", (event) => ours(event) && event.preventDefault());
  document.addEventListener("drop", (event) => {
    if (!ours(event)) return;
    event.preventDefault();
    dalle.open(event.dataTransfer.files[0], trigger);
  });
};

// Gradio tells the place in the queue in words of its own; ours stand in the same line.
dalle.waiting = (element) => {
  const line = element.closest("#status");
  const told = () => {
    const place = /queue: (\d+)/.exec(line.querySelector(".progress-text")?.textContent ?? "");
    if (place) line.dataset.place = `Place ${place[1]} in the queue …`;
    else delete line.dataset.place;
  };
  new MutationObserver(told).observe(line, { childList: true, characterData: true, subtree: true });
};
