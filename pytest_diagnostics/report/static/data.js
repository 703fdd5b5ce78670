// The page's data: JSON in script elements that the browser does not run, the bulk of it deflated.

function readBlock(id) {
  const node = byId(id);
  const value = JSON.parse(node.textContent);
  node.remove(); // the text is megabytes on a long run, and is not needed twice
  return value;
}

function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}

async function unpack(text) {
  const stream = new Blob([fromBase64(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

const meta = readBlock("d-meta");
const data = { columns: null, charts: [], rowOf: new Map(), chunks: readBlock("d-details"), opened: new Map() };

async function load() {
  data.columns = await unpack(readBlock("d-tests"));
  data.columns.key.forEach((key, row) => {
    if (!data.rowOf.has(key)) data.rowOf.set(key, row);
  });
  data.charts = await Promise.all(readBlock("d-series").map(unpack));
}

// The details of one test; the neighbours in its chunk come with it and stay, in case they are next.
async function detailOf(row) {
  const place = Math.floor(row / meta.chunk);
  if (!data.opened.has(place)) {
    if (data.opened.size >= 8) data.opened.delete(data.opened.keys().next().value);
    data.opened.set(place, await unpack(data.chunks[place]));
  }
  return data.opened.get(place)[row % meta.chunk];
}

function outcomeOf(row) {
  return meta.outcomes[data.columns.outcome[row]];
}
