// Cards glide from the order in which they were drawn to the order in which CLIP likes them.
{
  const places = new Map();
  dalle.settle = (element) => {
    const gallery = element.querySelector(".gallery");
    const glide = gallery.dataset.stage === "done" && !dalle.calm();
    for (const card of gallery.querySelectorAll(".card")) {
      const before = places.get(card.dataset.index);
      const place = { x: card.offsetLeft, y: card.offsetTop };
      places.set(card.dataset.index, place);
      if (!glide || !before) continue;
      const start = `translate(${before.x - place.x}px, ${before.y - place.y}px)`;
      card.animate([{ transform: start }, {}], { duration: 700, easing: "cubic-bezier(.2, .7, .1, 1)" });
    }
  };
}
