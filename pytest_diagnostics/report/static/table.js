// The table of tests: rows of one height, of which only the visible ones exist.

const ROW = 26;
const COLUMNS = [
  { key: "outcome", title: "Result", css: "c-result" },
  { key: "id", title: "Test", css: "c-test" },
  { key: "wall", title: "Duration", unit: "seconds", css: "c-wall num" },
  { key: "cpu", title: "CPU", unit: "seconds", css: "c-cpu num", hint: "CPU seconds of the whole process" },
  { key: "wait", title: "Waited", unit: "percent", css: "c-wait num", hint: "Share of its time in which the test could run but had no CPU" },
  { key: "peak", title: "Peak RSS", unit: "bytes", css: "c-peak num" },
  { key: "read", title: "Read", unit: "bytes", css: "c-read num", hint: "Fetched from storage" },
  { key: "write", title: "Written", unit: "bytes", css: "c-write num", hint: "Sent to storage" },
  { key: "worker", title: "Worker", css: "c-worker" },
  { key: "start", title: "Start", css: "c-start num" },
];
const CHIPS = [
  { title: "All", groups: null },
  { title: "Failed", groups: ["failed", "error"] },
  { title: "Unfinished", groups: ["running"] },
  { title: "Passed", groups: ["passed"] },
  { title: "Skipped", groups: ["skipped"] },
  { title: "Rerun", groups: ["rerun"] },
];

const table = { rows: [], sort: "start", down: false, chip: CHIPS[0], lower: null, heads: [], scroll: null, space: null, pool: [] };

function buildTable() {
  const head = el("div", { class: "trow thead", role: "row" });
  table.heads = COLUMNS.map((column) => {
    const button = el("button", { type: "button", title: column.hint || null }, column.title, el("span", { class: "arrow" }));
    button.addEventListener("click", () => sortBy(column));
    const cell = el("div", { class: column.css, role: "columnheader" }, button);
    head.append(cell);
    return cell;
  });
  table.space = el("div", { class: "space", role: "rowgroup" });
  table.scroll = el("div", { class: "window", tabindex: "0", role: "presentation" }, table.space);
  const grid = el("div", { class: "grid", role: "table", "aria-label": "Tests", "aria-rowcount": String(meta.count) },
    el("div", { role: "rowgroup" }, head), table.scroll);
  byId("table").append(grid);
  table.scroll.addEventListener("scroll", drawRows, { passive: true });
  for (const chip of CHIPS) buildChip(chip);
  byId("search").addEventListener("input", refilter);
  refilter();
}

function buildChip(chip) {
  const places = data.columns.outcome;
  const count = chip.groups === null ? places.length
    : places.filter((place) => chip.groups.includes(meta.outcomes[place].group)).length;
  if (!count) return;
  const button = el("button", { type: "button", "aria-pressed": String(chip === table.chip) }, chip.title + " ",
    el("span", { class: "muted" }, grouped(count, 0)));
  button.addEventListener("click", () => {
    table.chip = chip;
    for (const other of byId("chips").children) other.setAttribute("aria-pressed", String(other === button));
    refilter();
  });
  byId("chips").append(button);
}

function sortBy(column) {
  // Figures start with the largest, words and moments with the first.
  if (table.sort === column.key) table.down = !table.down;
  else {
    table.sort = column.key;
    table.down = Boolean(column.unit);
  }
  refilter();
}

function refilter() {
  const noun = (data.columns.attempt.some((attempt) => attempt > 1) ? "attempt" : "test") + (meta.count === 1 ? "" : "s");
  const terms = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  if (terms.length && !table.lower) table.lower = data.columns.id.map((id) => id.toLowerCase());
  const groups = table.chip.groups;
  table.rows = [];
  for (let row = 0; row < meta.count; row += 1) {
    if (groups && !groups.includes(outcomeOf(row).group)) continue;
    if (terms.every((term) => table.lower[row].includes(term))) table.rows.push(row);
  }
  sortRows();
  table.heads.forEach((cell, place) => {
    const active = COLUMNS[place].key === table.sort;
    cell.setAttribute("aria-sort", active ? (table.down ? "descending" : "ascending") : "none");
    cell.querySelector(".arrow").textContent = active ? (table.down ? " ▾" : " ▴") : "";
  });
  byId("matches").textContent = grouped(table.rows.length, 0) + " of " + grouped(meta.count, 0) + " " + noun;
  table.space.style.height = table.rows.length * ROW + "px";
  table.scroll.scrollTop = 0;
  sizeTable();
}

// Beside an open test the table is as tall as the panel, elsewhere it leaves room for the page.
function sizeTable() {
  const beside = view.selected >= 0 && innerWidth >= 1000;
  const most = beside ? Math.max(8, Math.floor((innerHeight * 0.9) / ROW) - 2) : 18;
  table.scroll.style.height = Math.min(Math.max(table.rows.length, 1), most) * ROW + 2 + "px";
  drawRows();
}

// What was not read comes last in either direction; equals keep the order of their start.
function sortRows() {
  const values = data.columns[table.sort];
  const sign = table.down ? -1 : 1;
  table.rows.sort((a, b) => {
    const left = values[a];
    const right = values[b];
    if (left === right) return a - b;
    if (left === null) return 1;
    if (right === null) return -1;
    return left < right ? -sign : sign;
  });
}

function drawRows() {
  const first = Math.max(0, Math.floor(table.scroll.scrollTop / ROW) - 3);
  const last = Math.min(table.rows.length, Math.ceil((table.scroll.scrollTop + table.scroll.clientHeight) / ROW) + 3);
  while (table.pool.length < last - first) {
    const made = makeRow();
    table.pool.push(made);
    table.space.append(made.node);
  }
  table.pool.forEach((made, place) => {
    const at = first + place;
    made.node.hidden = at >= last;
    if (at < last) fillRow(made, at);
  });
}

function makeRow() {
  const cells = COLUMNS.map((column) => el("div", { class: column.css, role: "cell" }));
  const id = foreign("");
  const link = el("a", { class: "id" }, id);
  cells[1].append(link);
  const node = el("div", { class: "trow", role: "row" }, ...cells);
  const made = { node, cells, link, id, row: -1 };
  node.addEventListener("click", (event) => {
    if (event.target.closest("a")) return; // the link does it by itself
    openTest(made.row);
  });
  return made;
}

function fillRow(made, at) {
  const row = table.rows[at];
  made.node.style.transform = "translateY(" + at * ROW + "px)";
  made.node.setAttribute("aria-rowindex", String(at + 1));
  if (row === view.selected) made.node.setAttribute("aria-current", "true");
  else made.node.removeAttribute("aria-current");
  if (made.row === row) return;
  made.row = row;
  const columns = data.columns;
  made.link.setAttribute("href", "#t=" + columns.key[row]);
  made.link.setAttribute("title", columns.id[row]);
  made.id.textContent = columns.id[row];
  COLUMNS.forEach((column, place) => {
    const cell = made.cells[place];
    if (column.key === "outcome") cell.replaceChildren(mark(outcomeOf(row)));
    else if (column.key === "worker") cell.textContent = meta.workers[columns.worker[row]];
    else if (column.key === "start") cell.textContent = clock(columns.start[row], meta.end < 120 ? 0.1 : 1);
    else if (column.key !== "id") {
      const value = columns[column.key][row];
      cell.textContent = value === null ? "no data" : figure(value, column.unit);
      cell.classList.toggle("none", value === null);
    }
  });
}

// Brings the selected test into the window, clearing a filter that hides it.
function revealRow(row) {
  let at = table.rows.indexOf(row);
  if (at < 0) {
    byId("search").value = "";
    byId("chips").firstElementChild.click();
    at = table.rows.indexOf(row);
  }
  const top = table.scroll.scrollTop;
  if (at * ROW < top || (at + 1) * ROW > top + table.scroll.clientHeight) {
    table.scroll.scrollTop = Math.max(0, at * ROW - table.scroll.clientHeight / 2);
  }
  drawRows();
}

// The row above or below the selected one, for j and k.
function neighbour(step) {
  const at = table.rows.indexOf(view.selected);
  return table.rows[at < 0 ? 0 : Math.min(table.rows.length - 1, Math.max(0, at + step))];
}
