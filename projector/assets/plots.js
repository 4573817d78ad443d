// Makes the figures over time something to point at. Without it they are lines and tables.
(() => {
  const drawn = new WeakMap();
  const figures = () => document.querySelectorAll("[data-plot]");

  const said = (value, unit) => {
    if (value == null) return "–";
    if (unit === "ms" && value >= 1000) return `${(value / 1000).toFixed(1)} s`;
    return `${Number.isInteger(value) ? value : value.toFixed(1)} ${unit}`.trim();
  };

  // As everywhere on the page, not as where the reader is.
  const time = (at) => new Date(at * 1000).toISOString();
  const tick = (at) => (time(at).slice(11, 16) === "00:00" ? time(at).slice(5, 10) : time(at).slice(11, 16));

  const draw = (figure) => {
    drawn.get(figure)?.destroy();
    figure.querySelector(".drawn")?.remove();
    const { times, unit, lines } = JSON.parse(figure.dataset.plot);
    const svg = figure.querySelector("svg");
    if (times.length < 2) return;
    // A canvas knows no variables of the style sheet: colours and dashes are taken from what stands there without script.
    svg.removeAttribute("hidden");
    const drawnAs = [...svg.querySelectorAll("polyline")].map((line) => {
      const { stroke, strokeDasharray } = getComputedStyle(line);
      return { stroke, dash: strokeDasharray.match(/[\d.]+/g)?.map((length) => length * devicePixelRatio) };
    });
    const { color, fontFamily } = getComputedStyle(figure.querySelector(".note"));
    const grid = getComputedStyle(figure).borderTopColor;
    svg.setAttribute("hidden", "");
    const target = document.createElement("div");
    target.className = "drawn";
    target.setAttribute("aria-hidden", "true");
    svg.before(target);
    const axis = { stroke: color, font: `12px ${fontFamily}`, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 } };
    const options = {
      width: figure.clientWidth - 24,
      height: 200,
      // Not by colour alone: as far as a border can be like the line.
      legend: { live: true, markers: { width: 3, dash: (_, at) => ["solid", "dashed", "dotted", "double"][at - 1] ?? "solid" } },
      cursor: { points: { size: 6 }, drag: { x: false, y: false } },
      scales: { y: { range: (_, least, most) => [Math.min(0, least ?? 0), most > 0 ? most * 1.05 : 1] } },
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "UTC"),
      axes: [{ ...axis, values: (_, ticks) => ticks.map(tick) }, { ...axis, size: 64, values: (_, ticks) => ticks.map((tick) => said(tick, unit)) }],
      series: [
        { label: "from", value: (_, at) => (at == null ? "–" : time(at).slice(0, 16).replace("T", " ")) },
        ...lines.map((line, at) => ({
          label: line.name, ...drawnAs[at], width: 1.5, spanGaps: true, points: { show: times.length < 30, size: 4 },
          value: (_, value) => said(value, unit),
        })),
      ],
    };
    drawn.set(figure, new uPlot(options, [times, ...lines.map((line) => line.values)], target));
  };

  const drawAll = () => figures().forEach(draw);
  drawAll();
  // Who points at one reads it: it stays.
  document.addEventListener("htmx:before:swap", (event) => {
    if (document.querySelector("[data-plot] .drawn:hover")) event.preventDefault();
  });
  document.addEventListener("htmx:after:swap", drawAll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  let resized;
  addEventListener("resize", () => {
    clearTimeout(resized);
    resized = setTimeout(drawAll, 200);
  });
})();
