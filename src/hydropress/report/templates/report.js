(() => {
  "use strict";
  const payload = JSON.parse(document.getElementById("report-data").textContent);
  const byId = (id) => document.getElementById(id);
{% include "plots.js" %}

  function pressed(group) {
    const button = document.querySelector(`[data-group="${group}"] [aria-pressed="true"]`);
    return button ? button.dataset.value : undefined;
  }

  function drawSizes() {
    if (!byId("size-plot")) return;
    const figure = payload.sizes[`${pressed("metric")}:${pressed("size")}`];
    draw("size-plot", figure, "No measured values for this choice.");
  }

  const current = () => {
    const model = payload.models[Number(byId("model").value)];
    const layer = model && model.layers[Number(byId("layer").value)];
    return { model, layer, channel: layer && layer.channels[Number(byId("channel").value)] };
  };

  function fill(select, names) {
    const before = select.selectedIndex < 0 ? "" : select.options[select.selectedIndex].text;
    select.replaceChildren(...names.map((name, index) => new Option(name, String(index))));
    select.selectedIndex = Math.max(0, names.indexOf(before));
    select.disabled = names.length < 2;
  }

  function highlighted(figure) {
    if (!figure) return figure;
    const position = Number(byId("layer").value);
    const band = {
      type: "rect", yref: "paper", y0: 0, y1: 1, x0: position - 0.46, x1: position + 0.46,
      fillcolor: "var(--tint)", line: { width: 0 }, layer: "below",
    };
    return { ...figure, layout: { ...figure.layout, shapes: [band] } };
  }

  function drawLayer() {
    const { model, layer, channel } = current();
    if (!layer) return;
    const poles = layer[pressed("poles")];
    document.documentElement.style.setProperty("--selected", model.color);
    byId("layer-summary").textContent = layer.summary;
    byId("layer-certificate").textContent = layer.certificate;
    for (const side of ["before", "after"]) {
      draw(`poles-${side}`, poles[side], "No poles recorded for this layer.");
    }
    const missing = "No response recorded for this layer.";
    draw("impulse", channel && channel.impulse, missing);
    draw("frequency", channel && channel.frequency, missing);
    draw("error-h2", highlighted(model.errors.relative_h2_error));
    draw("error-output", highlighted(model.errors.output_error));
    for (const id of ["error-h2", "error-output"]) {
      const element = byId(id);
      element.removeAllListeners("plotly_click");
      element.on("plotly_click", (event) => {
        byId("layer").value = String(Math.round(event.points[0].x));
        chooseLayer();
      });
    }
  }

  function chooseLayer() {
    const { layer } = current();
    fill(byId("channel"), layer ? layer.channels.map((entry) => entry.label) : []);
    drawLayer();
  }

  function chooseModel() {
    const { model } = current();
    fill(byId("layer"), model ? model.layers.map((entry) => entry.name) : []);
    chooseLayer();
  }

  for (const group of document.querySelectorAll("[data-group]")) {
    group.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      for (const other of group.querySelectorAll("button")) {
        other.setAttribute("aria-pressed", String(other === button));
      }
      if (group.dataset.group === "poles") drawLayer(); else drawSizes();
    });
  }
  for (const button of document.querySelectorAll("[data-series]")) {
    button.addEventListener("click", () => {
      const shown = hidden.delete(button.dataset.series);
      if (!shown) hidden.add(button.dataset.series);
      button.setAttribute("aria-pressed", String(shown));
      drawSizes();
    });
  }

  const drawAll = () => {
    drawSizes();
    if (payload.models.length) drawLayer();
  };
  if (payload.models.length) {
    byId("model").addEventListener("change", chooseModel);
    byId("layer").addEventListener("change", chooseLayer);
    byId("channel").addEventListener("change", drawLayer);
    fill(byId("model"), payload.models.map((model) => model.name));
    chooseModel();
  }
  drawSizes();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
})();
