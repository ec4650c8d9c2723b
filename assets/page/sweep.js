// Columns side by side. The wall is written anew at every step: it stays where the visitor scrolled it to, and follows
// the column that is being drawn until somebody scrolls it.
{
  let left = 0;  // where it is
  let mine = 0;  // where it was scrolled to here

  document.addEventListener("scroll", (event) => {
    if (event.target.matches?.("#pictures .columns")) left = event.target.scrollLeft;
  }, true);

  dalle.columns = (sweep) => {
    const row = sweep.querySelector(".columns"), drawn = Number(sweep.dataset.drawn);
    const column = row.children[Math.min(drawn, row.children.length - 1)];
    if (!drawn && !row.querySelector(".gallery")) left = mine = 0;
    const follows = Math.abs(left - mine) < 2;
    row.scrollLeft = left;
    if (follows) row.scrollLeft = column.offsetLeft + column.offsetWidth - row.clientWidth;
    [left, mine] = [row.scrollLeft, follows ? row.scrollLeft : mine];
    if (sweep.dataset.link) dalle.remember(sweep);
  };
}
