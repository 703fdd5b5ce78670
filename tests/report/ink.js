() => {
  // Whether the first chart has a line at a fifth, at the half and at four fifths of its width.
  const canvas = document.querySelector("#charts canvas");
  const over = document.querySelector("#charts .u-over");
  const ratio = canvas.width / canvas.clientWidth;
  const seen = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const blue = (x, y) => {
    const at = (y * seen.width + x) * 4;
    return seen.data[at] < 80 && seen.data[at + 2] > 130 && seen.data[at + 3] > 100;
  };
  return [0.2, 0.5, 0.8].map((share) => {
    const x = Math.round((over.offsetLeft + over.clientWidth * share) * ratio);
    return [...Array(seen.height).keys()].some((y) => blue(x, y));
  });
}
