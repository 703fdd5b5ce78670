() => {
  // The least contrast of the page's texts against its ground, as WCAG computes it.
  const rgb = (text) => text.match(/[\d.]+/g).slice(0, 3).map(Number);
  const light = (color) => rgb(color).map((part) => part / 255)
    .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
  const back = light(getComputedStyle(document.body).backgroundColor);
  return [...document.querySelectorAll("h1,h2,.facts,.empty,.mark,.count,.top a,.note,th,td,.muted")]
    .filter((node) => !node.closest("button"))
    .map((node) => light(getComputedStyle(node).color))
    .map((text) => (Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05))
    .reduce((least, one) => Math.min(least, one));
}
