"use strict";
for (const table of document.querySelectorAll("table.search-me")) {
  const body = table.tBodies[0], rows = [...body.rows];
  const label = document.createElement("label"), input = document.createElement("input");
  const shown = document.createElement("span");
  label.className = "search";
  shown.className = "soft";
  shown.setAttribute("role", "status");
  input.type = "search";
  label.append("Search: ", input, " ", shown);
  table.parentElement.before(label);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      found += row.hidden ? 0 : 1;
    }
    shown.textContent = words.length ? found + " of " + rows.length : "";
  });
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      const key = (row) => row.cells[column].dataset.value || row.cells[column].textContent;
      for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down > 0 ? "ascending" : "descending");
      const order = new Intl.Collator(undefined, { numeric: true }).compare;
      rows.sort((a, b) => down * order(key(a), key(b)));
      body.append(...rows);
    });
  });
}
