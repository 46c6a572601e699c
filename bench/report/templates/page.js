"use strict";
(() => {
  const root = document.documentElement;
  const { base, figures, plotly } = JSON.parse(document.getElementById("figures").textContent);
  const plots = [...document.querySelectorAll("[data-figure]")];
  if (!window.Plotly) {
    document.getElementById("charts-absent").hidden = false;
    for (const plot of plots) plot.hidden = true;
    root.dataset.figures = "absent";
    return;
  }
  Plotly.register({ moduleType: "locale", name: "page", dictionary: plotly, format: {} });

  // Colours stand in the specifications by name and are taken from the style sheet at drawing time.
  const painted = (value, style) => {
    if (typeof value === "string") return value[0] === "@" ? style.getPropertyValue("--" + value.slice(1)).trim() : value;
    if (Array.isArray(value)) return value.map((item) => painted(item, style));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, painted(item, style)]));
  };
  const touch = !matchMedia("(hover: hover)").matches;
  const config = {
    responsive: true, displaylogo: false, locale: "page", displayModeBar: touch ? false : "hover",
    modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
  };
  const font = getComputedStyle(document.body).fontFamily;
  const draw = (plot, width) => {
    const style = getComputedStyle(root);
    const spec = figures[plot.dataset.figure];
    const layout = { ...base.layout, ...spec.layout, dragmode: touch ? false : "zoom" };
    layout.font = { ...layout.font, family: font };
    for (const axis of ["xaxis", "yaxis"]) layout[axis] = { ...base.axis, ...layout[axis] };
    if (width) Object.assign(layout, { width, autosize: false });
    return Plotly.react(plot, painted(spec.data, style), painted(layout, style), config);
  };
  const drawAll = async () => {
    for (const plot of plots) {
      await draw(plot);
      await new Promise((resume) => setTimeout(resume));
    }
    root.dataset.figures = "drawn";
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plots.forEach((plot) => draw(plot)));
  const unfold = (open) => document.querySelectorAll(".folded").forEach((part) => (part.open = open));
  addEventListener("beforeprint", () => { unfold(true); plots.forEach((plot) => draw(plot, 660)); });
  addEventListener("afterprint", () => { unfold(false); plots.forEach((plot) => draw(plot)); });

  // A link with data-focus brings one row of the figure it points to into view.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-focus]");
    if (!link) return;
    const plot = document.querySelector(link.getAttribute("href") + " [data-figure]");
    const rows = figures[plot.dataset.figure].rows;
    const [at, from, to] = rows[link.dataset.focus];
    Plotly.relayout(plot, { "yaxis.range": [at + 1.5, at - 1.5], "xaxis.range": [from, to] });
  });
  drawAll();
})();
