// The charts: uPlot for drawing, one shared stretch of time, values at the pointer beside each chart.

const charts = [];
const DASHES = [[], [7, 4], [2, 3], [9, 3, 2, 3], [4, 2], [1, 2]];
const CHART_HEIGHT = 96;

function buildCharts() {
  const host = byId("charts");
  meta.charts.forEach((chart, place) => {
    const plot = el("div", { class: "plot" });
    const when = el("span", { class: "when" });
    const values = chart.lines.map(() => el("span", { class: "num" }));
    const legend = el("div", { class: "legend" },
      el("div", { class: "legend-head" }, el("h3", null, foreign(chart.title)), when),
      ...chart.lines.map(([label, name], line) => el("div", { class: "entry" },
        el("i", { class: "swatch line-" + line }), el("span", { class: "label", title: name }, foreign(label)), values[line])),
      chart.note ? el("div", { class: "muted" }, chart.note) : null);
    host.append(el("div", { class: "chart" }, plot, legend));
    const last = place === meta.charts.length - 1;
    const points = uPlot.join(tables(data.charts[place]));
    const made = { chart, plot, values, when, points, gaps: gapsOf(points), u: null };
    made.u = new uPlot(options(made, last), points, plot);
    charts.push(made);
  });
}

// Times come as steps in milliseconds.
function tables(packed) {
  const times = packed.times.map((steps) => {
    let at = 0;
    return steps.map((step) => (at += step) / 1000);
  });
  return packed.lines.map(([place, values]) => [times[place], values]);
}

// Where every series of a chart has a gap: from the last sample before it to the first after it.
function gapsOf(points) {
  const spans = points.slice(1).map((values) => {
    const found = [];
    let before = 0;
    let open = false;
    values.forEach((value, place) => {
      if (value === null) open = true;
      else if (value !== undefined) {
        if (open) found.push([before, points[0][place]]);
        before = points[0][place];
        open = false;
      }
    });
    if (open) found.push([before, meta.end]);
    return found;
  });
  return spans.reduce((shared, own) => shared.flatMap(([from, to]) => own
    .map(([start, end]) => [Math.max(from, start), Math.min(to, end)]).filter(([start, end]) => end > start)));
}

function valueRange(unit) {
  return (u, low, high) => {
    const top = Math.max(0, high === null ? 0 : high);
    const bottom = Math.min(0, low === null ? 0 : low);
    const step = valueStep(top - bottom, unit);
    if (unit === "percent" && bottom === 0 && top > 40 && top <= 100) return [0, 100];
    return [Math.floor(bottom / step) * step, Math.max(step, Math.ceil((top / step) * 0.999) * step)];
  };
}

function valueSplits(unit) {
  return (u, axis, low, high) => {
    const step = low === 0 && high === 100 && unit === "percent" ? 50 : valueStep(high - low, unit);
    const splits = [];
    for (let at = low; at <= high + step / 1e6; at += step) splits.push(at);
    return splits;
  };
}

function options(made, last) {
  const { chart } = made;
  const font = "11px system-ui, sans-serif";
  const grid = { stroke: () => ink("grid"), width: 1 };
  const ticksOf = (u) => view.ticks(u.over.clientWidth || u.width - gutter() - RIGHT);
  return {
    width: Math.max(200, made.plot.clientWidth),
    height: CHART_HEIGHT + (last ? 22 : 0),
    padding: [9, RIGHT, last ? 0 : 3, 0],
    legend: { show: false },
    scales: { x: { time: false, auto: false, range: () => [view.min, view.max] }, y: { range: valueRange(chart.unit) } },
    axes: [
      { show: true, stroke: () => ink("muted"), font, size: last ? 24 : 4, gap: 3, grid, ticks: { show: false },
        splits: (u) => ticksOf(u).ticks,
        values: (u, splits) => splits.map((tick) => (last ? clock(tick, ticksOf(u).step) : "")) },
      { stroke: () => ink("muted"), font, size: gutter(), gap: 8, grid, ticks: { show: false },
        splits: valueSplits(chart.unit), values: (u, splits) => splits.map((value) => axisFigure(value, chart.unit)) },
    ],
    series: [{}, ...chart.lines.map(([label], line) => ({
      label, stroke: () => ink("s" + line), width: 1.25, spanGaps: false,
      points: { size: 4, width: 1, fill: () => ink("s" + line) } }))],
    cursor: { y: false, drag: { x: true, y: false, setScale: false }, points: { size: 5 } },
    hooks: {
      drawClear: [(u) => drawBehind(u, made)],
      setCursor: [(u) => { if (u.cursor.event) pointAt(u); }],
      setSelect: [(u) => selectOn(u)],
    },
  };
}

// Gaps hatched, the selected test as a band.
function drawBehind(u, made) {
  const pen = u.ctx;
  const ratio = devicePixelRatio || 1;
  const { left, top, width, height } = u.bbox;
  pen.save();
  pen.beginPath();
  pen.rect(left, top, width, height);
  pen.clip();
  const band = view.window();
  if (band) {
    const from = u.valToPos(band[0], "x", true);
    pen.fillStyle = ink("band");
    pen.fillRect(from, top, Math.max(2 * ratio, u.valToPos(band[1], "x", true) - from), height);
  }
  pen.strokeStyle = ink("hatch");
  pen.lineWidth = ratio;
  for (const [start, end] of made.gaps) {
    const from = Math.max(left, u.valToPos(start, "x", true));
    const to = Math.min(left + width, u.valToPos(end, "x", true));
    if (to <= from) continue;
    pen.save();
    pen.beginPath();
    pen.rect(from, top, to - from, height);
    pen.clip();
    pen.beginPath();
    for (let at = from - height; at < to; at += 7 * ratio) {
      pen.moveTo(at, top + height);
      pen.lineTo(at + height, top);
    }
    pen.stroke();
    pen.restore();
  }
  pen.restore();
}

function pointAt(u) {
  const inside = u.cursor.left >= 0;
  const time = inside ? u.posToVal(u.cursor.left, "x") : null;
  lanes.line.hidden = !inside;
  if (inside) lanes.line.style.transform = "translateX(" + (gutter() + u.cursor.left) + "px)";
  setCursors(time, u);
}

function selectOn(u) {
  const { left, width } = u.select;
  if (width < 5) return;
  const from = u.posToVal(left, "x");
  const to = u.posToVal(left + width, "x");
  u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  view.set(from, to);
}

function setCursors(time, source) {
  for (const made of charts) {
    if (made.u !== source) {
      made.u.setCursor(time === null ? { left: -10, top: -10 } : { left: made.u.valToPos(time, "x"), top: 20 }, false);
    }
    showValues(made, time);
  }
}

// The last sample at or before a moment; between two samples of a slow collector the older one still holds.
function valueAt(times, values, time) {
  let place = lastAtOrBefore(times, time);
  while (place >= 0 && values[place] === undefined) place -= 1;
  return place < 0 ? null : values[place];
}

function lastAtOrBefore(times, time) {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= time) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

function showValues(made, time) {
  const times = made.points[0];
  made.when.textContent = time === null ? "mean" : clock(time, (view.max - view.min) / 1000);
  made.values.forEach((node, line) => {
    const values = made.points[line + 1];
    let value = null;
    if (time !== null) value = valueAt(times, values, time);
    else {
      let sum = 0;
      let count = 0;
      for (let place = Math.max(0, lastAtOrBefore(times, view.min)); place < times.length && times[place] <= view.max; place += 1) {
        if (values[place] !== null && values[place] !== undefined) {
          sum += values[place];
          count += 1;
        }
      }
      if (count) value = sum / count;
    }
    node.textContent = figure(value, made.chart.unit);
  });
}

// Lines are told apart by dashes too, once samples stand far enough apart for dashes to read.
function drawCharts() {
  for (const made of charts) {
    const times = made.points[0];
    const inView = lastAtOrBefore(times, view.max) - lastAtOrBefore(times, view.min);
    const sparse = inView < made.u.width / 4;
    made.chart.lines.forEach((_, line) => { made.u.series[line + 1].dash = sparse ? DASHES[line] : undefined; });
    made.u.batch(() => {
      made.u.setScale("x", { min: view.min, max: view.max });
      made.u.redraw(true, true);
    });
    showValues(made, null);
  }
}

function sizeCharts() {
  for (const made of charts) made.u.setSize({ width: Math.max(200, made.plot.clientWidth), height: made.u.height });
}
