(() => {
  "use strict";
  const payload = JSON.parse(document.getElementById("report-data").textContent);
  const byId = (id) => document.getElementById(id);
{% include "plots.js" %}

  function drawAll() {
    for (const [name, figure] of Object.entries(payload.figures)) {
      draw(`figure-${name}`, figure.data.length ? figure : null, "No runs yet.");
    }
  }

  const buttons = [...document.querySelectorAll("[data-series]")];
  for (const button of buttons) {
    button.addEventListener("click", () => {
      const key = button.dataset.series;
      const shown = hidden.delete(key);
      if (!shown) hidden.add(key);
      // Every task has a legend of its own; a method is shown or hidden in all of them.
      for (const twin of buttons.filter((other) => other.dataset.series === key)) {
        twin.setAttribute("aria-pressed", String(shown));
      }
      drawAll();
    });
  }
  drawAll();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
})();
