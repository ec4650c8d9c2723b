// What was drawn and starred in this browser. Nothing of it leaves the browser, except the recipe that is used again.
{
  const KEY = "dalle-history", MOST = 60, SIDE = 112;
  const past = () => dalle.recall(KEY, { recent: [], stars: [] });
  const same = (one, other) => one.link === other.link && one.index === other.index;
  let show = () => {};

  const save = (changed) => {
    while (!dalle.keep(KEY, changed) && changed.recent.length) changed.recent.pop();  // a full store: the oldest go
    show();
  };

  // A small copy of a picture that outlives the file on the server.
  const thumbnail = async (image) => {
    try { await image.decode(); } catch { return ""; }
    const canvas = dalle.make("canvas", { width: SIDE, height: SIDE });
    canvas.getContext("2d").drawImage(image, 0, 0, SIDE, SIDE);
    return canvas.toDataURL("image/webp", 0.8);
  };

  const entry = async (card, section) => ({
    link: section.dataset.link,
    prompt: section.dataset.prompt,
    seed: section.dataset.seed,
    index: card.dataset.index,
    picture: await thumbnail(card.querySelector("img")),
  });

  const starred = (card, stars) => {
    const button = card.querySelector("[data-act=star]");
    const here = { link: card.closest(".drawn").dataset.link, index: card.dataset.index };
    button?.setAttribute("aria-pressed", String(stars.some((star) => same(star, here))));
  };

  // A gallery or a sweep was finished.
  dalle.remember = async (section) => {
    for (const card of section.querySelectorAll(".card")) starred(card, past().stars);
    const best = section.querySelector(".card");
    if (!best) return;
    const drawn = { ...(await entry(best, section)), columns: section.dataset.drawn }, now = past();
    now.recent = [drawn, ...now.recent.filter((other) => other.link !== drawn.link)].slice(0, MOST);
    save(now);
  };

  dalle.star = async (card) => {
    const star = await entry(card, card.closest(".drawn")), now = past();
    const others = now.stars.filter((other) => !same(other, star));
    now.stars = others.length < now.stars.length ? others : [star, ...others].slice(0, MOST);
    save(now);
    starred(card, now.stars);
  };

  const picture = (kept) => {
    const shown = kept.picture.startsWith("data:image/") ? kept.picture : "";
    return dalle.make("img", { src: shown, alt: "", width: 56, height: 56 });
  };

  const reuse = async (kept, trigger) => {
    await dalle.filled;
    trigger("reuse", { link: kept.link });
  };

  const line = (kept, trigger) => {
    const again = dalle.make("button", { type: "button", title: "Use it again" }, picture(kept),
      dalle.make("span", {}, dalle.make("b", {}, kept.prompt),
        dalle.make("small", {}, `seed ${kept.seed}${kept.columns ? ` · ${kept.columns} columns` : ""}`)));
    again.addEventListener("click", () => reuse(kept, trigger));
    return dalle.make("li", {}, again);
  };

  const star = (kept, trigger) => {
    const again = dalle.make("button", { type: "button", title: kept.prompt,
      "aria-label": `${kept.prompt}, seed ${kept.seed}, picture ${kept.index}: use it again` }, picture(kept));
    again.addEventListener("click", () => reuse(kept, trigger));
    return dalle.make("li", {}, again);
  };

  const fill = (element, trigger) => {
    const { recent, stars } = past(), part = (name) => element.querySelector(`[data-part=${name}]`);
    part("empty").hidden = recent.length + stars.length > 0;
    part("clear").hidden = recent.length + stars.length === 0;
    part("stars").hidden = !stars.length;
    part("recent").hidden = !recent.length;
    element.querySelector(".stars").replaceChildren(...stars.map((kept) => star(kept, trigger)));
    element.querySelector(".recent").replaceChildren(...recent.map((kept) => line(kept, trigger)));
  };

  // A picture brings its recipe back.
  dalle.open = async (file, trigger) => {
    await dalle.filled;
    trigger("recall", { note: await dalle.note(file) });
  };

  // The note that the program writes into its PNG files: a tEXt chunk with the key "dalle".
  dalle.note = async (file) => {
    if (file.size > 50e6) return "{}";
    const bytes = new Uint8Array(await file.arrayBuffer()), view = new DataView(bytes.buffer);
    const latin = (start, end) => String.fromCharCode(...bytes.subarray(start, end));
    for (let at = 8; at + 12 <= bytes.length; at += 12 + view.getUint32(at)) {
      const end = at + 8 + view.getUint32(at);
      if (latin(at + 4, at + 8) === "tEXt" && latin(at + 8, at + 14) === "dalle\0") return latin(at + 14, end);
    }
    return "{}";
  };

  dalle.history = (element, trigger) => {
    show = () => fill(element, trigger);
    show();
    window.addEventListener("storage", show);  // another tab drew something
    element.addEventListener("change", (event) => {
      if (event.target.files?.length) dalle.open(event.target.files[0], trigger);
      event.target.value = "";
    });
    element.addEventListener("click", (event) => {
      if (event.target.closest("[data-part=clear]")) save({ recent: [], stars: [] });
    });
  };
}
