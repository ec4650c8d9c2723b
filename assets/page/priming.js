// The border between the kept rows and the rest follows the slider without asking the server.
dalle.keepRows = () => {
  const slider = document.querySelector("#rows input[type=range]");
  const plate = document.querySelector("#prime-preview .primed");
  if (slider && plate) plate.style.setProperty("--kept", slider.value / (Number(slider.max) + 1));
};
document.addEventListener("input", (event) => event.target.closest("#rows") && dalle.keepRows());
