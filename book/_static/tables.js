// Result tables in the browser: a click on a header sorts the rows, and long tables have a field that filters them. What is wider than
// the page has the class "more" until its end is in view. A table of claims knows the number of its other columns.
// Nothing is loaded from elsewhere; without this script the tables are complete.
const SORTED_FROM = 8, FILTERED_FROM = 20; // rows

const numberIn = (text) => parseFloat(text.replace(/,/g, "").replace(/^[^\d−-]*/, "").replace("−", "-"));

function compared(a, b) {
  const numbers = [numberIn(a), numberIn(b)];
  const numeric = [a, b].every((text) => /^[−-]?[\d,.]+/.test(text.trim()));
  return numeric ? numbers[0] - numbers[1] : a.localeCompare(b, undefined, { numeric: true });
}

function sortBy(table, header) {
  const column = header.cellIndex, down = header.getAttribute("aria-sort") === "ascending";
  const text = (row) => row.cells[column].textContent;
  const rows = [...table.tBodies[0].rows].sort((a, b) => compared(text(a), text(b)));
  table.tBodies[0].append(...(down ? rows.reverse() : rows));
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", down ? "descending" : "ascending");
}

function makeSortable(table) {
  for (const header of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    button.addEventListener("click", () => sortBy(table, header));
    header.append(button);
  }
  table.classList.add("sortable");
}

function makeFilter(table) {
  const field = document.createElement("input");
  field.type = "search";
  field.className = "table-filter";
  field.placeholder = "filter the rows";
  field.setAttribute("aria-label", field.placeholder);
  field.addEventListener("input", () => {
    const wanted = field.value.toLowerCase();
    for (const row of table.tBodies[0].rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
  table.before(field);
}

function prepare(table) {
  if (table.tHead?.rows.length !== 1) return;
  table.querySelectorAll("thead th").forEach((header) => { header.scope = "col"; });
  table.tabIndex = 0; // so that a table that is wider than the page can be scrolled by keyboard
  const count = table.tBodies[0].rows.length;
  if (count >= SORTED_FROM) makeSortable(table);
  if (count >= FILTERED_FROM) makeFilter(table);
}

function markMore(box) {
  const mark = () => box.classList.toggle("more", box.scrollWidth - box.clientWidth - box.scrollLeft > 4);
  box.addEventListener("scroll", mark, { passive: true });
  new ResizeObserver(mark).observe(box);
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll(".cell_output table:not(.verdicts)").forEach(prepare);
  document.querySelectorAll(".claims, .verdicts").forEach((table) => {
    table.style.setProperty("--cells", table.tHead.rows[0].cells.length - 1);
  });
  document.querySelectorAll(".bd-article :is(table, figure, div.math, .pst-scrollable-table-container)").forEach(markMore);
});

// A printed page has no folds to click on: what they hold is printed, but for code.
let opened = [];
window.addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("article details:not(.hide):not([open])")];
  opened.forEach((fold) => { fold.open = true; });
});
window.addEventListener("afterprint", () => opened.forEach((fold) => { fold.open = false; }));
