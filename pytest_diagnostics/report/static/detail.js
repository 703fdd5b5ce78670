// One test: what became of it, exact figures of its phases, what was sampled meanwhile, and what it declared.

function numbers(...values) {
  return values.map((value) => el("td", { class: value === "no data" ? "num none" : "num" }, value));
}

function section(title, label, ...content) {
  return el("section", null, el("h3", null, title, label ? el("span", { class: "muted" }, " " + label) : null), ...content);
}

function makeTable(heads, rows) {
  const cells = heads.map((head, place) => el("th", { scope: "col", class: place ? "num" : null }, head));
  return el("div", { class: "scroll" }, el("table", null, el("thead", null, el("tr", null, ...cells)), el("tbody", null, ...rows)));
}

function wordOf(name) {
  const known = meta.outcomes.find((outcome) => outcome.name === name);
  return known ? mark(known) : foreign(name);
}

function usageSection(detail) {
  const phases = detail.phases || [];
  if (!phases.length) return section("Usage", null, el("p", { class: "empty" }, "No phase of this test was recorded."));
  const reasons = new Map();
  const rows = [];
  meta.usage.forEach(([label, unit], place) => {
    const absent = phases.map((phase) => (phase.absent || []).find(([key]) => key === place));
    for (const found of absent) {
      if (found) reasons.set(found[1], (reasons.get(found[1]) || new Set()).add(label));
    }
    const values = phases.map((phase) => phase.usage[place]);
    const total = phases.length > 1 ? [detail.usage[place]] : [];
    if (values.every((value) => value === null) && !absent.some(Boolean)) return;
    rows.push(el("tr", null, el("th", { scope: "row" }, label),
      ...numbers(...[...values, ...total].map((value) => figure(value, unit)))));
  });
  const heads = ["", ...phases.map((phase) => phase.when), ...(phases.length > 1 ? ["all"] : [])];
  const outcomes = el("tr", null, el("th", { scope: "row" }, "Outcome"),
    ...phases.map((phase) => el("td", { class: "num" }, wordOf(phase.outcome))), phases.length > 1 ? el("td") : null);
  const notes = [...reasons].map(([why, labels]) =>
    el("p", { class: "muted small" }, "No data for " + [...labels].join(", ") + ": ", foreign(why)));
  return section("Usage", "exact, read at the edges of each phase", makeTable(heads, [outcomes, ...rows]), ...notes);
}

function samplesSection(detail, row) {
  const samples = [...(detail.samples || [])].sort((a, b) => a[0] - b[0]);
  if (!samples.length) {
    const left = meta.dropped > 0 && data.columns.outcome[row] !== undefined && outcomeOf(row).name === "passed";
    return section("Samples", null, el("p", { class: "empty" }, left
      ? "The samples of passed tests were left out of this page to keep it small; they are in summary.json."
      : "Nothing was sampled while this test ran."));
  }
  const most = Math.max(...samples.map((sample) => sample[4]));
  const line = ([series, low, mean, high, count]) => {
    const [name, unit] = meta.series[series];
    return el("tr", { class: count ? null : "near" }, el("th", { scope: "row" }, foreign(name)),
      ...numbers(figure(low, unit), figure(mean, unit), figure(high, unit), count ? grouped(count, 0) : "nearest"));
  };
  const heads = ["", "min", "mean", "max", "samples"];
  const first = samples.filter(([series]) => series < meta.charted);
  const rest = samples.filter(([series]) => series >= meta.charted);
  const label = most ? "sampled, " + grouped(most, 0) + (most === 1 ? " sample" : " samples") : "sampled";
  const near = samples.some((sample) => !sample[4])
    ? el("p", { class: "muted small" }, most ? "“nearest”: the nearest sample, not a measurement of this test."
      : "Too short to be sampled: the nearest sample, not a measurement of this test.") : null;
  const more = rest.length ? el("details", { open: first.length ? null : "" }, el("summary", null, grouped(rest.length, 0) + " more series"),
    makeTable(heads, rest.map(line))) : null;
  return section("Samples", label, near, first.length ? makeTable(heads, first.map(line)) : null, more);
}

function stallsSection(detail) {
  if (!detail.stalls) return null;
  const rows = detail.stalls.map(([word, seconds, count, why]) => el("tr", null,
    el("th", { scope: "row" }, foreign(word), el("div", { class: "muted small" }, foreign(why))),
    ...numbers(figure(seconds, "seconds"), grouped(count, 0))));
  return section("Did not run", "within this test's window", makeTable(["", "together", "stretches"], rows));
}

function declaredSections(detail) {
  const parts = [];
  if (detail.limits) {
    parts.push(section("Limits", null, makeTable(["", "limit", "value", "state"], detail.limits.map(([name, limit, value, unit, state, why]) =>
      el("tr", { class: state === "exceeded" ? "exceeded" : null }, el("th", { scope: "row" }, foreign(name), why ? el("div", { class: "muted small" }, foreign(why)) : null),
        ...numbers(figure(limit, unit), figure(value, unit), (state === "exceeded" ? "✗ " : state === "ok" ? "✓ " : "– ") + state))))));
  }
  if (detail.subtests) {
    parts.push(section("Subtests", grouped(detail.subtests.length, 0), el("ul", { class: "plain" },
      ...detail.subtests.map(([name, outcome]) => el("li", null, wordOf(outcome), " ", foreign(name))))));
  }
  if (detail.stretches) {
    // A stretch carries all figures but wall, in the order of the usage table.
    const place = (label) => meta.usage.findIndex(([name]) => name === label) + 2;
    parts.push(section("Stretches", "exact", makeTable(["", "at", "wall", "CPU", "RSS change"], detail.stretches.map((stretch) =>
      el("tr", null, el("th", { scope: "row" }, foreign(stretch[0])), ...numbers(clock(stretch[1], 0.1), figure(stretch[2], "seconds"),
        figure(stretch[place("CPU, all threads")], "seconds"), figure(stretch[place("RSS change")], "bytes")))))));
  }
  for (const extra of detail.collections || []) {
    const told = extra.data.map(([name, text]) => el("details", null, el("summary", null, foreign(name)), el("pre", null, foreign(text))));
    const errors = extra.errors.map(([name, why]) => el("p", { class: "small" }, "! ", foreign(name), ": ", foreign(why)));
    parts.push(section("Collected", null, el("p", { class: "muted small" }, foreign(extra.reason), " · at " + clock(extra.time, 0.1)),
      ...extra.told.map((sentence) => el("p", null, "! ", foreign(sentence))), ...told, ...errors));
  }
  return parts;
}

function attemptsSection(row) {
  const columns = data.columns;
  const same = [];
  columns.id.forEach((id, other) => { if (id === columns.id[row]) same.push(other); });
  if (same.length < 2) return null;
  return section("Attempts", grouped(same.length, 0), el("ul", { class: "plain" }, ...same.map((other) =>
    el("li", null, mark(outcomeOf(other)), " ",
      el("a", { href: "#t=" + columns.key[other], "aria-current": other === row ? "true" : null },
        "attempt " + columns.attempt[other] + " on " + meta.workers[columns.worker[other]]),
      " · " + figure(columns.wall[other], "seconds")))));
}

async function drawDetail(row) {
  const detail = await detailOf(row);
  if (view.selected !== row) return; // another test was opened meanwhile
  const columns = data.columns;
  const button = (text, title, act) => {
    const made = el("button", { type: "button", title }, text);
    made.addEventListener("click", act);
    return made;
  };
  const zoom = button("Zoom to this test", null, () => {
    view.showTest(row);
    byId("timeline").scrollIntoView({ block: "start" });
  });
  const close = button("Close", "Close (Esc)", closeTest);
  const facts = [figure(columns.wall[row], "seconds"), meta.workers[columns.worker[row]] + " (pid " + detail.pid + ")",
    "started " + clock(columns.start[row], 0.1)];
  if (columns.attempt[row] > 1) facts.push("attempt " + columns.attempt[row]);
  if (detail.occurrence) facts.push("occurrence " + (detail.occurrence + 1));
  const sections = [
    el("h3", { class: "id whole" }, foreign(columns.id[row])),
    el("p", null, mark(outcomeOf(row)), el("span", { class: "muted" }, " · " + facts.join(" · "))),
    detail.complete ? null : el("p", { class: "small" }, "! Its process ended before its teardown did."),
    el("div", { class: "tools" }, zoom, el("a", { href: "#t=" + columns.key[row] }, "Link to this test"), close),
    detail.failure ? el("pre", { class: "failure" }, foreign(detail.failure)) : null,
    attemptsSection(row),
    stallsSection(detail),
    usageSection(detail),
    samplesSection(detail, row),
    ...declaredSections(detail),
  ];
  byId("detail").replaceChildren(...sections.filter(Boolean));
  byId("detail").scrollTop = 0;
}
