document.querySelectorAll("table.sortable th button").forEach(function (button) {
  button.addEventListener("click", function () {
    var head = button.parentNode, table = head.closest("table"), body = table.tBodies[0];
    var column = head.cellIndex, down = head.getAttribute("aria-sort") === "descending" ? 1 : -1;
    if (!head.classList.contains("number") && !head.hasAttribute("aria-sort")) down = 1;
    table.querySelectorAll("th").forEach(function (each) { each.removeAttribute("aria-sort"); });
    head.setAttribute("aria-sort", down < 0 ? "descending" : "ascending");
    var value = function (row) { return row.cells[column].dataset.sort; };
    Array.from(body.rows).sort(function (one, other) {
      var a = value(one), b = value(other);
      if (a === "" || b === "") return (a === "") - (b === "");
      return down * (isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b);
    }).forEach(function (row) { body.appendChild(row); });
  });
});
window.addEventListener("beforeprint", function () {
  document.querySelectorAll("details").forEach(function (each) { each.open = true; });
});
