// The lanes: one row a worker, a bar a test. Where tests are closer than pixels, each cell is stacked by share
// of time, failures at the bottom and at least a pixel high, so that neither they nor the passes are overdrawn.

const lanes = { canvas: null, line: null, height: 0, rows: [], drag: null };
const LANE_INKS = { failed: "fail", error: "error", running: "running", passed: "passed", skipped: "skip", rerun: "rerun" };
const GAP_HEIGHT = 12; // the row under the workers, for what did not run
const STACK = ["failed", "error", "running", "rerun", "skipped", "passed"];

function buildLanes() {
  const host = byId("lanes");
  lanes.canvas = el("canvas", { role: "img", "aria-label": "Tests by worker over time"
    + (meta.builds.length ? ", and builds of views and indexes" : "") });
  lanes.line = el("div", { class: "hair" });
  lanes.line.hidden = true;
  const shown = meta.outcomes.filter((_, place) => data.columns.outcome.includes(place));
  const keys = shown.map((outcome) =>
    el("span", { class: "mark" }, el("i", { class: "swatch bar-" + outcome.group }), mark(outcome)));
  for (const [word, shade] of new Map(meta.gaps)) {
    keys.push(el("span", { class: "mark" }, el("i", { class: "swatch gap-" + shade }), foreign(word)));
  }
  const legend = el("div", { class: "legend keys" }, ...keys, ...buildKeys());
  host.append(el("div", { class: "plot" }, lanes.canvas, lanes.line), legend);
  const each = Math.max(4, Math.min(18, Math.floor(220 / Math.max(1, meta.workers.length))));
  lanes.height = each;
  lanes.rows = meta.workers.map(() => []);
  data.columns.worker.forEach((worker, row) => lanes.rows[worker].push(row));
  lanes.canvas.addEventListener("pointerdown", laneDown);
  lanes.canvas.addEventListener("pointermove", laneMove);
  lanes.canvas.addEventListener("pointerup", laneUp);
  lanes.canvas.addEventListener("pointerleave", () => hoverAt(null));
  // Kept in sight while charts scroll by, unless it would take a third of the window.
  if (each * meta.workers.length + buildsHeight() < 150) byId("stage-bar").classList.add("sticky");
}

function laneScale() {
  const width = lanes.canvas.clientWidth;
  const left = gutter();
  return { left, width: Math.max(1, width - left - RIGHT), full: width };
}

function drawLanes() {
  const scale = laneScale();
  const under = lanes.height * meta.workers.length;
  const gaps = under + buildsHeight();
  const height = gaps + (meta.gaps.length ? GAP_HEIGHT : 0) + 22;
  const ratio = devicePixelRatio || 1;
  lanes.canvas.width = Math.round(scale.full * ratio);
  lanes.canvas.height = Math.round(height * ratio);
  lanes.canvas.style.height = height + "px";
  const pen = lanes.canvas.getContext("2d");
  pen.scale(ratio, ratio);
  drawTicks(pen, scale, height);
  const band = view.window();
  const x = (time) => scale.left + ((time - view.min) / (view.max - view.min)) * scale.width;
  pen.save();
  pen.beginPath();
  pen.rect(scale.left, 0, scale.width, height);
  pen.clip();
  if (band) {
    pen.fillStyle = ink("band");
    pen.fillRect(x(band[0]), 0, Math.max(2, x(band[1]) - x(band[0])), height - 20);
  }
  lanes.rows.forEach((rows, lane) => drawLane(pen, rows, lane, scale, x));
  drawBuilds(pen, under, scale, x);
  for (const [, shade, start, end] of meta.gaps) {
    // A jump takes no time, and a short stretch less than a pixel; both must be seen.
    pen.fillStyle = ink(shade);
    pen.fillRect(x(start), gaps + 3, Math.max(2, x(end) - x(start)), GAP_HEIGHT - 4);
  }
  pen.restore();
  pen.fillStyle = ink("muted");
  pen.textAlign = "right";
  if (meta.gaps.length) pen.fillText("gaps", scale.left - 8, gaps + GAP_HEIGHT / 2 + 1);
  drawBuildNames(pen, under, scale);
  const every = Math.ceil(11 / lanes.height);
  meta.workers.forEach((name, lane) => {
    if (lane % every === 0) pen.fillText(name.slice(0, 12), scale.left - 8, lane * lanes.height + lanes.height / 2, scale.left - 10);
  });
}

function drawTicks(pen, scale, height) {
  const { step, ticks } = view.ticks(scale.width);
  pen.font = "11px system-ui, sans-serif";
  pen.textBaseline = "middle";
  for (const tick of ticks) {
    const at = Math.round(scale.left + ((tick - view.min) / (view.max - view.min)) * scale.width) + 0.5;
    pen.fillStyle = ink("grid");
    pen.fillRect(at - 0.5, 0, 1, height - 18);
    const label = clock(tick, step);
    const half = pen.measureText(label).width / 2;
    pen.fillStyle = ink("muted");
    pen.textAlign = "center";
    pen.fillText(label, Math.min(at, scale.full - half), height - 9);
  }
}

function drawLane(pen, rows, lane, scale, x) {
  const top = lane * lanes.height + 1;
  const height = lanes.height - 2;
  const { start, wall } = data.columns;
  const inView = rows.filter((row) => {
    const end = wall[row] === null ? meta.end : start[row] + wall[row];
    return end >= view.min && start[row] <= view.max;
  });
  if (inView.length > scale.width / 3) return drawDense(pen, inView, top, height, scale);
  for (const row of inView) {
    const from = x(start[row]);
    const to = x(wall[row] === null ? meta.end : start[row] + wall[row]);
    // A hair of background between neighbours, as long as the bar stays visible.
    const width = Math.max(1, to - from - (to - from > 4 ? 1 : 0));
    pen.fillStyle = ink(LANE_INKS[outcomeOf(row).group]);
    pen.fillRect(from, top, width, height);
    if (row === view.selected) {
      pen.strokeStyle = ink("text");
      pen.lineWidth = 1.5;
      pen.strokeRect(from - 0.5, top - 0.5, Math.max(3, width + 1), height + 1);
    }
  }
  return undefined;
}

function drawDense(pen, rows, top, height, scale) {
  const cells = Math.ceil(scale.width / 2);
  const length = view.max - view.min;
  const shares = new Map(STACK.map((group) => [group, new Float64Array(cells)]));
  for (const row of rows) {
    const share = shares.get(outcomeOf(row).group);
    const from = ((data.columns.start[row] - view.min) / length) * cells;
    const to = from + Math.max(((data.columns.wall[row] || 0) / length) * cells, 1e-4);
    for (let cell = Math.max(0, Math.floor(from)); cell < Math.min(cells, to); cell += 1) {
      share[cell] += Math.min(to, cell + 1) - Math.max(from, cell);
    }
  }
  for (let cell = 0; cell < cells; cell += 1) {
    let bottom = top + height;
    for (const group of STACK) {
      const share = shares.get(group)[cell];
      if (share <= 0) continue;
      const size = Math.min(bottom - top, Math.max(group === "passed" ? 0 : 1, share * height));
      pen.fillStyle = ink(LANE_INKS[group]);
      pen.fillRect(scale.left + cell * 2, bottom - size, 2, size);
      bottom -= size;
    }
  }
}

function laneTime(event) {
  const scale = laneScale();
  const share = (event.offsetX - scale.left) / scale.width;
  return Math.min(view.max, Math.max(view.min, view.min + share * (view.max - view.min)));
}

// The test under the pointer; a pixel's width of doubt either way, so that short tests can be hit.
function laneTest(event) {
  const rows = lanes.rows[Math.floor(event.offsetY / lanes.height)] || [];
  const time = laneTime(event);
  const doubt = ((view.max - view.min) / laneScale().width) * 2;
  let best = -1;
  let distance = Infinity;
  for (const row of rows) {
    const start = data.columns.start[row];
    const end = start + (data.columns.wall[row] === null ? meta.end : data.columns.wall[row]);
    const away = time < start ? start - time : time > end ? time - end : 0;
    if (away <= doubt && away < distance) {
      best = row;
      distance = away;
    }
  }
  return best;
}

// What did not run at the pointer, when it is in the row of the gaps.
function laneGap(event) {
  if (event.offsetY < lanes.height * meta.workers.length + buildsHeight()) return null;
  const time = laneTime(event);
  const doubt = ((view.max - view.min) / laneScale().width) * 2;
  return meta.gaps.find(([, , start, end]) => time >= start - doubt && time <= end + doubt) || null;
}

function laneDown(event) {
  lanes.drag = { x: event.offsetX, time: laneTime(event) };
  lanes.canvas.setPointerCapture(event.pointerId);
}

function laneMove(event) {
  hoverAt(laneTime(event), laneTest(event));
  const gap = laneGap(event);
  if (gap) byId("under").textContent = gap[0] + " · " + gap[4];
  const build = laneBuild(event);
  if (build) byId("under").textContent = buildAt(build, laneTime(event));
}

function laneUp(event) {
  const drag = lanes.drag;
  lanes.drag = null;
  if (!drag) return;
  const time = laneTime(event);
  if (Math.abs(event.offsetX - drag.x) > 5) view.set(Math.min(drag.time, time), Math.max(drag.time, time));
  else if (laneTest(event) >= 0) openTest(laneTest(event));
}

// One moment, shown on the lanes and on every chart.
function hoverAt(time, row) {
  const scale = laneScale();
  lanes.line.hidden = time === null;
  if (time !== null) {
    const at = scale.left + ((time - view.min) / (view.max - view.min)) * scale.width;
    lanes.line.style.transform = "translateX(" + at + "px)";
  }
  byId("under").textContent = time === null || row === undefined || row < 0 ? ""
    : outcomeOf(row).glyph + " " + data.columns.id[row] + " · " + figure(data.columns.wall[row], "seconds");
  setCursors(time, null);
}
