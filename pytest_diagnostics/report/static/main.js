// Wiring: load, draw, follow the address, listen to keys.

function redraw() {
  byId("range").textContent = clock(view.min, 1) + " – " + clock(view.max, 1) + " of " + figure(meta.end, "seconds");
  drawLanes();
  drawCharts();
}

function openTest(row) {
  if (row === undefined || row < 0) return;
  const wanted = "#t=" + data.columns.key[row];
  view.selected = row; // at once, so that a held key walks on from here
  if (location.hash === wanted) route();
  else location.hash = wanted;
}

function closeTest() {
  try {
    history.replaceState(null, "", location.pathname + location.search);
  } catch (refused) {
    location.hash = ""; // a sandboxed frame may not touch its history
  }
  route();
}

// Only twelve hex digits that we know select anything; whatever else stands there is ignored.
async function route() {
  const named = /^#t=([0-9a-f]{12})$/.exec(location.hash);
  const row = named ? data.rowOf.get(named[1]) : undefined;
  const open = row !== undefined;
  view.selected = open ? row : -1;
  byId("detail").hidden = !open;
  byId("split").classList.toggle("open", open);
  sizeTable();
  if (open) {
    revealRow(row);
    await drawDetail(row);
    showPlace(byId("tests"));
  }
  redraw();
}

// A link from the top lists leads far down the page.
function showPlace(node) {
  const box = byId("detail").getBoundingClientRect();
  if (box.top < 0 || box.top > innerHeight * 0.6) (innerWidth < 1000 ? byId("detail") : node).scrollIntoView({ block: "start" });
}

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  inks.clear();
  redraw();
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest && event.target.closest("input");
  if (event.key === "Escape") {
    if (typing) typing.blur();
    else closeTest();
    return;
  }
  if (typing) return;
  const acts = new Map([
    ["/", () => byId("search").focus()],
    ["j", () => openTest(neighbour(1))],
    ["k", () => openTest(neighbour(-1))],
    ["+", () => view.zoom(0.5)],
    ["=", () => view.zoom(0.5)],
    ["-", () => view.zoom(2)],
    ["0", () => view.set(0, meta.end)],
  ]);
  const act = acts.get(event.key);
  if (!act) return;
  event.preventDefault();
  act();
}

function listen() {
  byId("zoom-in").addEventListener("click", () => view.zoom(0.5));
  byId("zoom-out").addEventListener("click", () => view.zoom(2));
  byId("zoom-all").addEventListener("click", () => view.set(0, meta.end));
  byId("theme").addEventListener("click", () => setTheme(isDark() ? "light" : "dark"));
  addEventListener("keydown", onKey);
  addEventListener("hashchange", route);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { inks.clear(); redraw(); });
  let before = "";
  addEventListener("beforeprint", () => { before = document.documentElement.dataset.theme || ""; setTheme("light"); });
  addEventListener("afterprint", () => { if (before) setTheme(before); else { delete document.documentElement.dataset.theme; inks.clear(); redraw(); } });
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return sizeTable();
    width = innerWidth;
    sizeCharts();
    redraw();
    return sizeTable();
  });
}

async function start() {
  byId("theme").hidden = false;
  await load();
  if (meta.count) {
    byId("browser").hidden = false;
    buildTable();
  }
  if (meta.count || meta.charts.length) {
    byId("stage").hidden = false;
    buildLanes();
    buildCharts();
    view.watchers.push(redraw);
  }
  listen();
  if (meta.count) await route();
  else redraw();
}

function fail(error) {
  byId("notice").hidden = false;
  byId("notice").textContent = typeof DecompressionStream === "undefined"
    ? "This browser cannot inflate the page's data (it has no DecompressionStream). The lists above are complete; all figures are in summary.json."
    : "The interactive part of this page did not start: " + error + ". The lists above are complete; all figures are in summary.json.";
}

// The charts draw themselves in a microtask, so the page is whole one task later.
start().catch(fail).then(() => setTimeout(() => document.documentElement.setAttribute("data-ready", ""), 0));
