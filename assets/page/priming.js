// The canvas of a picture to continue. The sliders hold what is kept; the handle moves them, the canvas follows them.
// A crop is moved here and told to the server when it comes to rest.
{
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const canvas = () => document.querySelector("#canvas .canvas");
  const range = (id) => document.querySelector(`#${id} input[type=range]`);
  const press = (group, name, value) => group.querySelectorAll(`button[data-${name}]`).forEach((button) =>
    button.setAttribute("aria-pressed", String(button.dataset[name] === value)));

  // What is kept

  const borders = () => ({ top: Number(range("rows").value), left: Number(range("columns").value) });

  const follow = () => {
    const board = canvas();
    if (!board || !range("rows")) return;
    const { top, left } = borders();
    if (left) setMode(board, "corner");
    board.style.setProperty("--top", top);
    board.style.setProperty("--left", left);
    tell();
  };

  const tell = () => {
    const board = canvas();
    const [top, left] = ["--top", "--left"].map((name) => board.style.getPropertyValue(name));
    const columns = board.dataset.mode === "corner" ? `, ${left} of ${board.dataset.columns} columns` : "";
    const handle = board.querySelector(".handle");
    handle.setAttribute("aria-valuenow", top);
    handle.setAttribute("aria-valuetext", `${top} of ${board.dataset.rows} rows${columns} kept`);
  };

  const set = (id, value) => {
    const input = range(id);
    value = clamp(Math.round(value), Number(input.min), Number(input.max));
    if (Number(input.value) === value) return;
    input.value = value;
    input.dispatchEvent(new Event("input", { bubbles: true }));
  };

  const setMode = (board, mode) => {
    board.dataset.mode = mode;
    press(board, "mode", mode);
  };

  const chooseMode = (board, mode) => {
    setMode(board, mode);
    set("columns", mode === "corner" ? Number(board.dataset.columns) * 15 / 32 : 0);
    follow();
  };

  const moveHandle = (board, event) => {
    const plate = board.querySelector(".primed").getBoundingClientRect();
    set("rows", (event.clientY - plate.top) / plate.height * board.dataset.rows);
    if (board.dataset.mode === "corner")
      set("columns", Math.max(1, (event.clientX - plate.left) / plate.width * board.dataset.columns));
  };

  const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], PageUp: [-4, 0],
    PageDown: [4, 0], Home: [-99, 0], End: [99, 0] };

  const stepHandle = (board, [down, right]) => {
    const { top, left } = borders();
    set("rows", top + down);
    if (board.dataset.mode === "corner") set("columns", Math.max(1, left + right));
  };

  // The crop: data-x, data-y and data-side in pixels of the upload

  const crop = (box) => ({ width: +box.dataset.width, height: +box.dataset.height, x: +box.dataset.x,
    y: +box.dataset.y, side: +box.dataset.side });
  const largest = (box) => Math.min(box.dataset.width, box.dataset.height);

  const setCrop = (box, { x, y, side }) => {
    const { width, height } = crop(box);
    side = clamp(side, Math.min(largest(box), 16, largest(box) / 8), largest(box));
    x = clamp(x, 0, width - side);
    y = clamp(y, 0, height - side);
    Object.assign(box.dataset, { x, y, side });
    const picture = box.querySelector("img").style;
    picture.width = `${width / side * 100}%`;
    picture.height = `${height / side * 100}%`;
    picture.left = `${-x / side * 100}%`;
    picture.top = `${-y / side * 100}%`;
    box.querySelector("input").value = largest(box) / side;
  };

  const zoom = (box, factor) => {
    const { x, y, side } = crop(box);
    const after = clamp(side / factor, largest(box) / 8, largest(box));
    setCrop(box, { x: x + (side - after) / 2, y: y + (side - after) / 2, side: after });
  };

  const pan = (box, dx, dy) => {  // by shares of the window
    const { x, y, side } = crop(box);
    setCrop(box, { x: x + dx * side, y: y + dy * side, side });
  };

  const show = (board, view) => {
    const box = board.querySelector(".crop");
    if (view === "crop" && board.dataset.view === "keep") {
      setCrop(box, crop(box));
      box.dataset.before = JSON.stringify(crop(box));
    }
    if (view === "keep" && board.dataset.view === "crop" && box.dataset.before !== JSON.stringify(crop(box))) {
      const { x, y, side } = crop(box);
      board.classList.add("reading");
      board.dispatchEvent(new CustomEvent("crop", { bubbles: true, detail: { x, y, side } }));
    }
    board.dataset.view = view;
    press(board, "view", view);
  };

  // Pointers, keys, wheel

  const pointers = new Map();

  document.addEventListener("pointerdown", (event) => {
    const grip = event.target.closest?.("#canvas .handle, #canvas .window");
    if (!grip || event.button) return;
    event.preventDefault();
    grip.focus();
    grip.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  });
  document.addEventListener("pointermove", (event) => {
    const last = pointers.get(event.pointerId), board = canvas();
    if (!last || !board) return;
    if (event.target.closest(".handle")) return moveHandle(board, event);
    const box = board.querySelector(".crop"), width = box.querySelector(".window").clientWidth;
    const others = [...pointers].filter(([id]) => id !== event.pointerId).map(([, point]) => point);
    const now = { x: event.clientX, y: event.clientY };
    if (others.length) {
      const apart = (a, b) => Math.hypot(a.x - b.x, a.y - b.y) + 1;
      zoom(box, apart(now, others[0]) / apart(last, others[0]));
    }
    const fingers = 1 + others.length;
    pan(box, (last.x - now.x) / width / fingers, (last.y - now.y) / width / fingers);
    pointers.set(event.pointerId, now);
  });
  for (const end of ["pointerup", "pointercancel"])
    document.addEventListener(end, (event) => pointers.delete(event.pointerId));

  document.addEventListener("wheel", (event) => {
    const box = event.target.closest?.("#canvas .window")?.parentElement;
    if (!box) return;
    event.preventDefault();
    zoom(box, Math.exp(-event.deltaY / 500));
  }, { passive: false });

  document.addEventListener("keydown", (event) => {
    const grip = event.target.closest?.("#canvas .handle, #canvas .window");
    if (!grip || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = STEPS[event.key], factor = { "+": 1.1, "=": 1.1, "-": 1 / 1.1 }[event.key];
    if (grip.matches(".handle") && step) stepHandle(canvas(), step);
    else if (grip.matches(".window") && step) pan(grip.parentElement, step[1] / 16, step[0] / 16);
    else if (grip.matches(".window") && factor) zoom(grip.parentElement, factor);
    else return;
    event.preventDefault();
  });

  document.addEventListener("input", (event) => {
    if (event.target.closest("#rows, #columns")) follow();
    const box = event.target.closest("#canvas .crop");
    if (box) zoom(box, event.target.value / (largest(box) / crop(box).side));
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("#canvas .choice button");
    if (button?.dataset.view) show(canvas(), button.dataset.view);
    if (button?.dataset.mode) chooseMode(canvas(), button.dataset.mode);
  });

  const panel = () => document.querySelector("#priming");
  const open = () => panel().querySelector(":scope > button:not(.open)")?.click();

  dalle.openPriming = () => {
    open();
    panel().scrollIntoView({ block: "nearest", behavior: dalle.calm() ? "auto" : "smooth" });
  };

  // The canvas was written anew, perhaps by a link: whoever draws is to see what is kept.
  dalle.canvasWritten = () => {
    if (!canvas()) return;
    tell();
    open();
  };

  // A picture that is pasted anywhere, or dropped on the panel, goes where a chosen file goes. What is in the panel
  // comes into being when it is first opened.
  const give = async (event, file) => {
    if (!file) return;
    event.preventDefault();
    dalle.openPriming();
    const input = () => document.querySelector("#prime input[type=file]");
    for (let tries = 0; !input() && tries < 100; tries++) await new Promise((resume) => setTimeout(resume, 50));
    const files = new DataTransfer();
    files.items.add(file);
    input().files = files.files;
    input().dispatchEvent(new Event("change", { bubbles: true }));
  };
  document.addEventListener("paste", (event) =>
    give(event, [...event.clipboardData.files].find((file) => file.type.startsWith("image/"))));
  document.addEventListener("drop", (event) => {
    if (event.target.closest("#priming") && !event.target.closest("#prime")) give(event, event.dataTransfer.files[0]);
  });

  document.addEventListener("click", (event) => event.target.closest("[data-act=prime]") && dalle.openPriming());
}
