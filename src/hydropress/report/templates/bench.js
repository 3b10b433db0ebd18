(() => {
  "use strict";
  const payload = JSON.parse(document.getElementById("report-data").textContent);
  const byId = (id) => document.getElementById(id);
{% include "plots.js" %}

  const drawCases = () => payload.cases.forEach((figure, index) => draw(`case-${index}`, figure));
  function drawAll() {
    drawCases();
    draw("speed", payload.speed);
    for (const [name, figure] of Object.entries(payload.growth)) draw(`growth-${name}`, figure);
  }

  for (const button of document.querySelectorAll("[data-series]")) {
    button.addEventListener("click", () => {
      const shown = hidden.delete(button.dataset.series);
      if (!shown) hidden.add(button.dataset.series);
      button.setAttribute("aria-pressed", String(shown));
      drawCases();
    });
  }
  drawAll();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
})();
