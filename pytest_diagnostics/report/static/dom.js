// Making elements. Text goes in as text and attributes by the names in this list, so that nothing which a
// test is called can become markup.

const ATTRIBUTES = new Set(["class", "href", "title", "role", "type", "scope", "aria-label", "aria-pressed",
  "aria-sort", "aria-rowcount", "aria-rowindex", "aria-current", "tabindex", "open"]);

function el(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (!ATTRIBUTES.has(key)) throw new Error("unexpected attribute " + key);
    if (value !== null && value !== undefined) node.setAttribute(key, value);
  }
  for (const child of children) {
    if (child !== null && child !== undefined) node.append(child);
  }
  return node;
}

function byId(id) {
  return document.getElementById(id);
}

// Text of a test, a file or a collector: isolated, so that its direction stays its own.
function foreign(text) {
  return el("bdi", null, text);
}

function mark(outcome) {
  return el("span", { class: "mark o-" + outcome.group },
    el("span", { class: "glyph" }, outcome.glyph), " " + outcome.word);
}

// A colour of the page as the canvases need it.
const inks = new Map();
function ink(name) {
  if (!inks.has(name)) {
    inks.set(name, getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim());
  }
  return inks.get(name);
}
