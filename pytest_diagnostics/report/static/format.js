// Figures as the server-rendered half of the page writes them: three significant digits, "no data" for what
// was not read. A test compares both halves.

function grouped(value, places) {
  return value.toLocaleString("en-US", { minimumFractionDigits: places, maximumFractionDigits: places });
}

function digits(value) {
  if (Math.abs(value) < 1000) value = Number(value.toPrecision(3));
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 100) return grouped(value, 0);
  if (size >= 0.01) return value.toFixed(size >= 10 ? 1 : size >= 1 ? 2 : 3);
  return value.toExponential(2).replace(/e([+-])(\d)$/, "e$10$2");
}

function formatSeconds(value) {
  const size = Math.abs(value);
  if (size === 0) return "0 s";
  if (size < 0.9995e-3) return digits(value * 1e6) + " µs";
  if (size < 0.9995) return digits(value * 1e3) + " ms";
  if (size < 59.95) return digits(value) + " s";
  const sign = value < 0 ? "-" : "";
  const whole = Math.round(size);
  const two = (number) => String(number).padStart(2, "0");
  if (whole < 3600) return sign + Math.floor(whole / 60) + " m " + two(whole % 60) + " s";
  const minutes = Math.round(size / 60);
  return sign + Math.floor(minutes / 60) + " h " + two(minutes % 60) + " m";
}

const BYTES = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

function formatBytes(value) {
  let step = 0;
  while (Math.abs(value) >= 999.5 && step < BYTES.length - 1) {
    value /= 1024;
    step += 1;
  }
  return (step ? digits(value) : value.toFixed(0)) + " " + BYTES[step];
}

const UNIT_NAMES = new Map([["percent", " %"], ["celsius", " °C"], ["mhz", " MHz"]]);
const SECONDS = new Map([["seconds", 1], ["milliseconds", 1e-3], ["microseconds", 1e-6]]);
const SIZES = new Map([["bytes", 1], ["kb", 1024]]);

function figure(value, unit) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "no data";
  if (unit.endsWith("per_second")) return figure(value, unit.replace(/_?per_second$/, "")) + "/s";
  if (SECONDS.has(unit)) return formatSeconds(value * SECONDS.get(unit));
  if (SIZES.has(unit)) return formatBytes(value * SIZES.get(unit));
  const shown = Number.isInteger(value) ? grouped(value, 0) : digits(value);
  if (["", "count", "number"].includes(unit)) return shown;
  return shown + (UNIT_NAMES.get(unit) || " " + unit.replaceAll("_", " "));
}

// The same for an axis: "2 GiB" where a value would be "2.00 GiB".
function axisFigure(value, unit) {
  if (value === 0) return "0";
  return figure(value, unit).replace(/(\.\d*?)0+(?=\D|$)/, "$1").replace(/\.(?=\D|$)/, "");
}

// A moment of the run; with tenths, hundredths or thousandths where ticks stand closer than a second.
function clock(value, step) {
  const places = step >= 1 ? 0 : step >= 0.1 ? 1 : step >= 0.01 ? 2 : 3;
  const rounded = Number(Math.max(0, value).toFixed(places));
  const hours = Math.floor(rounded / 3600);
  const minutes = Math.floor(rounded / 60) % 60;
  const seconds = (rounded % 60).toFixed(places).padStart(places ? places + 3 : 2, "0");
  const two = String(minutes).padStart(2, "0");
  return hours ? hours + ":" + two + ":" + seconds : two + ":" + seconds;
}
