document.querySelectorAll("thead button").forEach(function (button) {
  button.addEventListener("click", function () {
    var head = button.closest("th"), table = button.closest("table"), body = table.tBodies[0];
    var column = head.cellIndex, down = head.getAttribute("aria-sort") === "ascending";
    table.querySelectorAll("thead th").forEach(function (th) { th.setAttribute("aria-sort", "none"); });
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    function key(row) {
      var cell = row.cells[column], value = cell.getAttribute("data-value");
      return value === null ? cell.textContent.trim() : Number(value);
    }
    Array.from(body.rows).sort(function (a, b) {
      var x = key(a), y = key(b), numbers = typeof x === "number" && typeof y === "number";
      // What is absent stays last, whichever way.
      if (typeof x !== typeof y) { return typeof x === "number" ? -1 : 1; }
      var order = numbers ? x - y : String(x).localeCompare(String(y));
      return down ? -order : order;
    }).forEach(function (row) { body.appendChild(row); });
  });
});
