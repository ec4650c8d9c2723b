// Sentences with slots. Each slot is a field with suggestions; slots of one name say the same. The prompt follows
// the sentence until somebody changes it by hand.
{
  const prompt = () => document.querySelector("#prompt textarea");
  let bound = null;  // the template that the prompt follows, or followed until it was changed by hand
  let typed = false;  // whether the prompt was written by hand
  let focus = null;  // where the keyboard is: a selector, and which of its matches it is
  let draft = null;  // what is being typed into a slot, and not yet in the sentence
  let open = null;  // the slot whose suggestions are shown

  const slots = (frame) => [...frame.querySelectorAll("[data-slot]")];
  const words = (frame) => Object.fromEntries(slots(frame).map((slot) => [slot.dataset.slot, slot.value]));
  const attached = (frame) => bound === frame.dataset.template && prompt().value === frame.dataset.sentence;
  const leads = (frame) => attached(frame) || !prompt().value.trim();

  dalle.follow = () => {
    const frame = document.querySelector("#templates .frame");
    if (frame) frame.dataset.state = attached(frame) ? "attached" : typed && bound === frame.dataset.template ? "detached" : "idle";
  };

  const tell = (frame, name, detail) => frame.dispatchEvent(new CustomEvent(name, { bubbles: true, detail }));

  const fill = (frame, { id = frame.dataset.template, values = words(frame), axis = frame.dataset.axis, use }) => {
    use ??= leads(frame);
    if (use) [bound, typed] = [id, false];
    draft = null;
    tell(frame, "fill", { id, values, axis, use });
  };

  // Suggestions

  const close = () => {
    open?.setAttribute("aria-expanded", "false");
    open?.removeAttribute("aria-activedescendant");
    document.querySelector("#templates .suggestions")?.remove();
    open = null;
  };

  const suggest = (slot, filter = "") => {
    close();
    open = slot;
    const frame = slot.closest(".frame"), list = document.createElement("ul");
    const fits = JSON.parse(slot.dataset.options).filter((option) => option.toLowerCase().includes(filter.toLowerCase()));
    const own = document.createElement("li");
    own.className = "own";
    own.textContent = filter ? `${filter} – your own words` : "your own words …";
    list.className = "suggestions";
    list.id = `suggestions-${frame.dataset.template}-${slot.dataset.slot}`;
    list.setAttribute("role", "listbox");
    list.setAttribute("aria-label", slot.getAttribute("aria-label"));
    list.append(...fits.map((option) => Object.assign(document.createElement("li"), { textContent: option })));
    if (!fits.includes(filter)) list.append(own);
    [...list.children].forEach((item, i) => {
      item.id = `${list.id}-${i}`;
      item.setAttribute("role", "option");
      item.setAttribute("aria-selected", "false");
    });
    frame.append(list);
    const place = slot.getBoundingClientRect(), edge = frame.getBoundingClientRect();
    list.style.top = `${place.bottom - edge.top + 4}px`;
    list.style.left = `${Math.max(0, Math.min(place.left - edge.left, edge.width - list.offsetWidth))}px`;
    list.scrollIntoView({ block: "nearest" });
    slot.setAttribute("aria-expanded", "true");
    slot.setAttribute("aria-controls", list.id);
    mark(filter ? null : [...list.children].find((item) => item.textContent === slot.value));
  };

  const marked = () => document.querySelector(".suggestions [aria-selected=true]");

  const mark = (item) => {
    marked()?.setAttribute("aria-selected", "false");
    item?.setAttribute("aria-selected", "true");
    if (!item) return open.removeAttribute("aria-activedescendant");
    open.setAttribute("aria-activedescendant", item.id);
    item.scrollIntoView({ block: "nearest" });
  };

  const step = (by) => {
    const items = [...document.querySelector(".suggestions").children];
    mark(items[(items.indexOf(marked()) + by + items.length + (by < 0 && !marked())) % items.length]);
  };

  const take = (slot, item) => {
    if (item.matches(".own") && draft === null) {  // on a telephone, the keyboard comes only now
      slot.inputMode = "text";
      slot.blur();
      slot.focus();
      slot.select();
      return close();
    }
    say(slot, item.matches(".own") ? slot.value : item.textContent);
    close();
    fill(slot.closest(".frame"), {});
  };

  const say = (slot, value) => {
    for (const twin of slots(slot.closest(".frame"))) if (twin.dataset.slot === slot.dataset.slot) twin.value = value;
  };

  const leave = (slot) => {
    close();
    if (draft !== null) fill(slot.closest(".frame"), {});
  };

  // Events

  document.addEventListener("input", (event) => {
    if (event.target === prompt()) {
      typed = true;
      dalle.follow();
    }
    if (!event.target.matches("#templates input[data-slot]")) return;
    draft = event.target.value;
    say(event.target, draft);
    suggest(event.target, draft.trim());
  });

  window.addEventListener("keydown", (event) => {  // before Esc stops a drawing
    const slot = event.target;
    if (!slot.matches?.("#templates input[data-slot]") || event.ctrlKey || event.metaKey || event.isComposing) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (open !== slot) suggest(slot);
      else step(event.key === "ArrowDown" ? 1 : -1);
    } else if (event.key === "Enter") {
      if (open && marked()) take(slot, marked());
      else if (draft !== null) leave(slot);
      else return;
    } else if (event.key === "Escape" && open) {
      if (draft !== null) say(slot, slot.defaultValue);
      draft = null;
      close();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }, true);

  document.addEventListener("pointerdown", (event) => {
    const item = event.target.closest?.(".suggestions li");
    if (item) event.preventDefault();  // the slot keeps the keyboard
    const slot = event.target.closest?.("#templates input[data-slot]");
    if (slot && event.pointerType === "touch" && slot !== document.activeElement) slot.inputMode = "none";
  });

  document.addEventListener("click", (event) => {
    const item = event.target.closest(".suggestions li");
    if (item) return take(open, item);
    const slot = event.target.closest("#templates input[data-slot]");
    if (slot) return open === slot ? close() : suggest(slot);
    const button = event.target.closest("#templates button");
    if (!button) return;
    const frame = document.querySelector("#templates .frame");
    if (button.matches(".chip, .family")) fill(frame, { id: button.dataset.template, values: {}, axis: "" });
    if (button.matches(".use")) fill(frame, { use: true });
    if (button.matches(".every")) fill(frame, { axis: "" });
    if (button.matches(".sweep"))
      tell(frame, "sweep", { id: frame.dataset.template, values: words(frame), axis: frame.dataset.axis });
  });

  document.addEventListener("change", (event) => {
    const axis = event.target.closest("#templates .axis select");
    if (axis) fill(axis.closest(".frame"), { axis: axis.value });
  });

  const PLACES = [".family", ".chip", "[data-slot]", ".use", ".axis select", ".sweep"];
  const board = () => document.querySelector("#templates");

  document.addEventListener("focusin", ({ target }) => {
    const place = target.closest("#templates") && PLACES.find((selector) => target.matches(selector));
    focus = place ? [place, [...board().querySelectorAll(place)].indexOf(target)] : null;
  });
  document.addEventListener("focusout", ({ target }) => {
    if (target.isConnected && target.matches("#templates input[data-slot]")) leave(target);
  });

  // The sheet was written anew: the keyboard, an unfinished word and open suggestions are where they were.
  dalle.sheetWritten = () => {
    dalle.follow();
    for (const list of board().querySelectorAll(".families, .chips")) {  // on a telephone they scroll sideways
      const chosen = list.querySelector("[aria-pressed=true]");
      list.scrollLeft = chosen.offsetLeft - (list.clientWidth - chosen.offsetWidth) / 2;
    }
    const again = focus && board().querySelectorAll(focus[0])[focus[1]];
    if (!again || document.activeElement !== document.body) return;
    const [unfinished, wasOpen] = [draft, open];
    again.focus({ preventScroll: true });
    if (unfinished !== null && again.matches("input")) say(again, (draft = unfinished));
    open = null;
    if (wasOpen && again.matches("input")) suggest(again, unfinished?.trim());
  };
}
