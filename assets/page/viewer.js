// One picture at a time, as large as the window allows; the arrow keys go through the gallery that it stands in.
{
  const step = (card, by) => {
    const cards = [...card.parentElement.children];
    return cards[(cards.indexOf(card) + by + cards.length) % cards.length];
  };

  const button = (label, sign, act) => {
    const made = dalle.make("button", { type: "button", "aria-label": label }, sign);
    made.addEventListener("click", act);
    return made;
  };

  dalle.view = (card) => {
    const link = card.querySelector("a.plate");
    const dialog = dalle.make("dialog", { class: "viewer", "aria-label": "One picture" });
    const picture = dalle.make("img"), told = dalle.make("figcaption", { "aria-live": "polite" });
    const show = (next) => {
      card = next;
      const own = card.querySelector("img");
      picture.src = card.querySelector("a.plate").href;
      picture.alt = own.alt;
      told.textContent = [...card.querySelectorAll(".rank, .score > :first-child, .seed > :first-child")]
        .map((part) => part.textContent).join(" · ");
    };
    const go = (by) => () => show(step(card, by));
    dialog.append(
      dalle.make("figure", {}, picture, told),
      button("The one before", "‹", go(-1)), button("The next one", "›", go(1)), button("Close", "×", () => dialog.close()),
    );
    dialog.addEventListener("keydown", (event) => {
      if (event.key === "ArrowLeft") go(-1)();
      if (event.key === "ArrowRight") go(1)();
    });
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    dialog.addEventListener("close", () => {
      dialog.remove();
      (card.isConnected ? card.querySelector("a.plate") : link).focus();
    });
    document.querySelector(".gradio-container .contain").append(dialog);
    show(card);
    dialog.showModal();
  };
}
