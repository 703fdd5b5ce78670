// What lanes and charts share: the visible stretch of time, the selected test, and where ticks stand.

const STEPS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900,
  1800, 3600, 7200, 10800, 21600, 43200, 86400];
const RIGHT = 14;

const view = {
  min: 0,
  max: meta.end,
  selected: -1,
  watchers: [],

  // Every view keeps inside the run and above the finest tick.
  set(min, max) {
    const least = Math.min(0.01, meta.end);
    const length = Math.min(meta.end, Math.max(least, max - min));
    this.min = Math.min(Math.max(0, min), meta.end - length);
    this.max = this.min + length;
    for (const watcher of this.watchers) watcher();
  },

  zoom(factor) {
    const middle = (this.min + this.max) / 2;
    const half = ((this.max - this.min) * factor) / 2;
    this.set(middle - half, middle + half);
  },

  // The window of the selected test, or null; a test that never ended lasts to the end of the run.
  window() {
    if (this.selected < 0) return null;
    const start = data.columns.start[this.selected];
    const wall = data.columns.wall[this.selected];
    return [start, wall === null ? meta.end : start + wall];
  },

  showTest(row) {
    this.selected = row;
    const [start, end] = this.window();
    const margin = Math.max((end - start) * 1.5, 0.5);
    this.set(start - margin, end + margin);
  },

  // Ticks that leave a label its room.
  ticks(width) {
    const length = this.max - this.min;
    const step = STEPS.find((size) => (size / length) * width >= 76) || 86400 * Math.ceil(length / 86400 / 8);
    const ticks = [];
    for (let at = Math.ceil(this.min / step - 1e-9); at * step <= this.max + 1e-9; at += 1) ticks.push(at * step);
    return { step, ticks };
  },
};

function gutter() {
  return innerWidth < 700 ? 64 : 84;
}

// At most three round steps on a value axis; binary ones for bytes, so that labels stay short.
function valueStep(span, unit) {
  if (!(span > 0)) return unit === "percent" ? 50 : 1;
  const rough = span / 3;
  if (/^(bytes|kb)/.test(unit)) return Math.pow(2, Math.ceil(Math.log2(rough * 0.999)));
  const power = Math.pow(10, Math.floor(Math.log10(rough)));
  const times = [1, 2, 2.5, 5, 10].find((size) => size * power >= rough * 0.999);
  return times * power;
}
