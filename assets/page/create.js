// Keys: Ctrl+Enter draws from anywhere, Esc stops. While a drawing runs, Enter does not ask for another one.
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") dalle.press("stop");
  if (event.key !== "Enter") return;
  const anywhere = event.ctrlKey || event.metaKey;
  if (anywhere || (!dalle.shown("draw") && event.target.closest("#prompt"))) event.preventDefault();
  if (anywhere) dalle.press("draw");
}, true);

// Draw and Stop take turns in one place, at once: the values of the two buttons.
{
  let stopped = false;
  const turns = (drawing) => [!drawing, drawing].map((visible) => ({ __type__: "update", visible }));
  dalle.turn = (drawing) => {
    if (drawing) stopped = false;
    return turns(drawing);
  };
  dalle.stop = () => {
    stopped = true;
    return turns(false);
  };
  dalle.refused = (told, full) => {
    document.querySelectorAll(".toast-body.error [data-testid=toast-close]").forEach((pop_up) => pop_up.click());
    return [stopped ? told : full, ...turns(false)];
  };
}

// The end of a sentence that does not fit the text window is gray: a copy of the text lies behind the field.
{
  const field = () => document.querySelector("#prompt textarea");
  const mirror = () => {
    const text = field();
    const lies = text.parentElement.querySelector(".mirror");
    if (lies) return lies;
    const made = dalle.make("div", { class: "mirror", "aria-hidden": "true" });
    text.parentElement.prepend(made);
    text.addEventListener("scroll", () => (made.scrollTop = text.scrollTop));
    text.addEventListener("input", () => document.querySelector("#prompt").classList.remove("long"));
    return made;
  };
  // Called whenever the sentence was measured.
  dalle.read = () => {
    const read = document.querySelector("#meter .meter")?.dataset.read;
    document.querySelector("#prompt").classList.toggle("long", read !== undefined);
    if (read === undefined) return;
    const copy = mirror(), letters = [...field().value];
    copy.replaceChildren(
      letters.slice(0, Number(read)).join(""),
      dalle.make("span", {}, letters.slice(Number(read)).join(""), " "),
    );
    copy.scrollTop = field().scrollTop;
  };
}

// The list of models closes when one is chosen or the visitor looks elsewhere.
dalle.picker = (element, trigger) => {
  element.addEventListener("change", (event) => trigger("choose", { name: event.target.value }));
  const close = (event) => {
    const list = element.querySelector("details");
    if (list?.open && !(event.type === "click" && list.contains(event.target))) list.open = false;
  };
  document.addEventListener("click", close);
  element.addEventListener("keydown", (event) => event.key === "Escape" && close(event));
};

// Once the page is filled for its model, a link that can be followed is drawn. What a visitor asked to have back before
// is set after that.
dalle.filled = new Promise((resolve) => {
  dalle.arrive = () => {
    const ready = location.search && document.querySelector("#status [data-ready]")?.dataset.ready;
    if (ready === "draw") dalle.press("draw");
    if (ready === "sweep") document.querySelector("#templates .sweep").click();
    resolve();
  };
});
