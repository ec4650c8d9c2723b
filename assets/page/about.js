// The snippet for programs names the address that this page is at.
dalle.about = (element, watch) => {
  const name = () => {
    for (const place of element.querySelectorAll("[data-address]"))
      place.textContent = place.dataset.address || location.origin + location.pathname;
  };
  name();
  watch("value", name);
};
