  const fine = matchMedia("(pointer: fine)").matches;
  const hidden = new Set();

  const variable = (name) =>
    getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // Figures name colours as var(--x); plotly needs the value, which depends on light or dark.
  function resolve(value) {
    if (typeof value === "string") {
      const match = /^var\((--[a-z0-9-]+)\)$/.exec(value);
      return match ? variable(match[1]) : value;
    }
    if (Array.isArray(value)) return value.map(resolve);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, resolve(entry)]));
  }

  function axis(own, narrow) {
    const { title, ...rest } = own || {};
    return {
      automargin: true, fixedrange: !fine, zeroline: false, gridcolor: "var(--grid)",
      zerolinecolor: "var(--grid)", linecolor: "var(--line)", ticks: "", ...rest,
      title: title ? { ...title, standoff: narrow ? 8 : 12, font: { size: 13 } } : undefined,
    };
  }

  const message = (text) => ({
    data: [],
    layout: {
      xaxis: { visible: false }, yaxis: { visible: false },
      annotations: [{
        text, showarrow: false, xref: "paper", yref: "paper", x: 0.5, y: 0.5,
        font: { color: "var(--muted)", size: 14 },
      }],
    },
  });

  function draw(id, drawn, missing) {
    const element = byId(id);
    const figure = drawn || message(missing || "Not recorded for this model.");
    const narrow = element.clientWidth < 480;
    const layout = {
      autosize: true, showlegend: false, dragmode: fine ? "zoom" : false,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: narrow ? 44 : 56, r: narrow ? 8 : 14, t: 12, b: 10, pad: 3 },
      font: { family: variable("--sans"), size: narrow ? 12 : 13, color: "var(--ink-soft)" },
      hoverlabel: {
        align: "left", bgcolor: "var(--card)", bordercolor: "var(--line)",
        font: { family: variable("--sans"), size: 13, color: "var(--ink)" },
      },
      hovermode: "closest", shapes: [], annotations: [],
      ...figure.layout,
      xaxis: axis(figure.layout.xaxis, narrow),
      yaxis: axis(figure.layout.yaxis, narrow),
    };
    const data = figure.data.map((trace) =>
      hidden.has(trace.legendgroup) ? { ...trace, visible: false } : trace);
    Plotly.react(element, resolve(data), resolve(layout),
      { displayModeBar: false, responsive: true, showTips: false });
  }
