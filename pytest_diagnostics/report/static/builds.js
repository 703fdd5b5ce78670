// The builds of views and indexes: a lane each under the workers', from when it was first seen not built until it
// was. What is filled is the percent; a build that was interrupted or failed is marked from there on.

const BUILD_HEIGHT = 18;
const BUILD_INKS = { building: "s2", built: "s2", bad: "fail", stuck: "s4", unknown: "hatch", pending: "hatch" };

function buildsHeight() {
  return meta.builds.length ? meta.builds.length * BUILD_HEIGHT + 4 : 0;
}

function buildKeys() {
  if (!meta.builds.length) return [];
  const looks = new Set(meta.builds.flatMap((build) => build[3].map((step) => step[1])));
  const words = [["building", "build: filled by its percent"], ["bad", "build: interrupted or failed"], ["stuck", "build: stuck"],
    ["unknown", "build: not known"]];
  const keys = words.filter(([look]) => looks.has(look)).map(([look, word]) =>
    el("span", { class: "mark" }, el("i", { class: "swatch build-" + look }), word));
  if (meta.buildsLeftOut) keys.push(el("span", { class: "muted" }, grouped(meta.buildsLeftOut, 0) + " more builds in the table below"));
  return keys;
}

function drawBuilds(pen, top, scale, x) {
  meta.builds.forEach((build, place) => drawBuild(pen, build, top + 4 + place * BUILD_HEIGHT, scale, x));
}

function drawBuild(pen, [, , , steps, end], top, scale, x) {
  const height = BUILD_HEIGHT - 4;
  const first = x(steps[0][0]);
  const last = Math.max(first + 2, x(end));
  pen.fillStyle = ink("row");
  pen.fillRect(first, top, last - first, height);
  let level = 0;
  steps.forEach(([time, look, percent], place) => {
    const next = steps[place + 1];
    const from = Math.round(x(time)); // whole pixels: two that share one would leave a seam
    const to = Math.round(next ? x(next[0]) : last);
    const before = percent === null ? level : percent / 100;
    // Between two looks the build went on: its percent rises from one to the next.
    const after = next && next[1] === "building" && next[2] !== null ? next[2] / 100 : next && next[1] === "built" ? 1 : before;
    level = before;
    if (look === "built" || look === "none" || to <= from) return;
    pen.fillStyle = ink(BUILD_INKS[look]);
    if (look === "building") {
      pen.beginPath();
      pen.moveTo(from, top + height);
      pen.lineTo(from, top + height * (1 - before));
      pen.lineTo(to, top + height * (1 - after));
      pen.lineTo(to, top + height);
      pen.fill();
    } else if (look === "bad" || look === "stuck") {
      pen.fillRect(from, top + height * (1 - Math.max(0.15, before)), Math.max(2, to - from), height * Math.max(0.15, before));
    } else {
      pen.fillRect(from, top + height / 2 - 1, Math.max(1, to - from), 2);
    }
  });
  pen.strokeStyle = ink(steps[steps.length - 1][1] === "bad" ? "fail" : "muted");
  pen.lineWidth = 1;
  pen.strokeRect(first + 0.5, top + 0.5, Math.max(1, last - first - 1), height - 1);
  drawBuildWord(pen, steps, { first, last, middle: top + height / 2 + 1 }, scale);
}

// What it came to, beside the bar: never by its colour alone.
function drawBuildWord(pen, steps, { first, last, middle }, scale) {
  const [, look, percent] = steps[steps.length - 1];
  const known = [...steps].reverse().find((step) => step[2] !== null);
  const at = known ? " " + Math.min(99, Math.floor(known[2])) + " %" : "";
  const word = look === "built" ? "✓ built" : look === "none" ? "dropped" : look === "bad" || look === "stuck" ? "✗" + at : "…" + at;
  if (last < scale.left || first > scale.left + scale.width || percent === undefined) return;
  const width = pen.measureText(word).width;
  const right = last + 5 + width <= scale.left + scale.width;
  pen.fillStyle = ink(look === "bad" || look === "stuck" ? "fail" : "text");
  pen.textAlign = right ? "left" : "right";
  if (right || first - 5 - width >= scale.left) pen.fillText(word, right ? last + 5 : first - 5, middle);
}

// Where it has no room the keyspace gives way, then the start: the end of a name tells views apart.
function drawBuildNames(pen, top, scale) {
  const room = scale.left - 12;
  meta.builds.forEach(([, name], place) => {
    const own = name.slice(name.lastIndexOf(".") + 1);
    const whole = pen.measureText(name).width <= room ? name : own;
    let shown = whole;
    while (shown.length > 2 && pen.measureText(shown === whole ? shown : "…" + shown).width > room) shown = shown.slice(1);
    pen.fillText(shown === whole ? whole : "…" + shown, scale.left - 8, top + 4 + place * BUILD_HEIGHT + (BUILD_HEIGHT - 4) / 2 + 1);
  });
}

// The build in whose lane the pointer is.
function laneBuild(event) {
  const place = Math.floor((event.offsetY - lanes.height * meta.workers.length - 4) / BUILD_HEIGHT);
  return meta.builds[place] || null;
}

// What a build was at a moment.
function buildAt([kind, name, sentence, steps, end], time) {
  const step = [...steps].reverse().find(([at]) => at <= time);
  if (!step || (time > end && step[1] !== "built")) return kind + " " + name + " · " + sentence;
  const at = step[2] === null || step[1] === "built" ? "" : " " + step[2] + " %";
  return kind + " " + name + " · " + (step[1] === "bad" ? sentence : step[1] + at + " at " + clock(time, 0.1));
}
