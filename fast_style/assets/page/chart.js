// Losses over steps, as an SVG with a logarithmic scale.

const NAMES = { total: "Total", content: "Content", style: "Style" };
const WIDTH = 480;
const HEIGHT = 200;
const LEFT = 44;
const BOTTOM = 20;
const FEW = 240; // points a line: more are not seen

/** Draw `losses`, [{step, content, style, total}], into a figure; the axis goes to `steps`. */
export function drawLosses(figure, losses, steps) {
  figure.hidden = losses.length === 0;
  const last = losses.at(-1);
  if (!last || figure.dataset.step === String(last.step)) return;
  figure.dataset.step = last.step;
  const points = thinned(losses);
  const names = Object.keys(NAMES).filter((name) => points.some((point) => point[name] > 0));
  const values = points.flatMap((point) => names.map((name) => point[name])).filter((value) => value > 0);
  if (!values.length) return;
  const [low, high] = span(values);
  const x = (step) => LEFT + (step / Math.max(steps, last.step, 1)) * (WIDTH - LEFT - 4);
  const y = (value) => 6 + (1 - Math.log(value / low) / Math.log(high / low)) * (HEIGHT - BOTTOM - 6);

  const chart = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  chart.setAttribute("aria-label", `Losses after ${last.step} steps: ${names.map((name) => `${NAMES[name]} ${short(last[name])}`).join(", ")}`);
  for (const value of ticks(low, high)) {
    chart.append(svg("line", { class: "grid", x1: LEFT, x2: WIDTH, y1: y(value), y2: y(value) }));
    chart.append(svg("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, short(value)));
  }
  chart.append(svg("text", { x: LEFT, y: HEIGHT - 4 }, "0"));
  chart.append(svg("text", { x: WIDTH, y: HEIGHT - 4, "text-anchor": "end" }, `${Math.max(steps, last.step)} steps`));
  for (const name of names.reverse()) {
    const line = points.filter((point) => point[name] > 0).map((point) => `${x(point.step).toFixed(1)},${y(point[name]).toFixed(1)}`);
    if (line.length === 1) line.push(line[0]); // a dot, by the round cap
    chart.append(svg("polyline", { class: name, points: line.join(" ") }));
  }
  figure.replaceChildren(chart, legend(names.reverse(), last));
}

function legend(names, last) {
  const caption = document.createElement("figcaption");
  for (const name of names) {
    const entry = document.createElement("span");
    entry.className = name;
    entry.textContent = `${NAMES[name]} ${short(last[name])}`;
    caption.append(entry);
  }
  return caption;
}

/** The limits of the scale: a little beyond the values, and never closer than a factor of 1.5. */
function span(values) {
  let [low, high] = [Math.min(...values), Math.max(...values)];
  const slack = Math.max(1.06, Math.sqrt(1.5 / (high / low)));
  return [low / slack, high * slack];
}

/** Round numbers between the limits: powers of ten, or 1, 2 and 5 of each where those are few. */
function ticks(low, high) {
  for (const digits of [[1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9]]) {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
      for (const digit of digits) found.push(digit * 10 ** power);
    }
    const inside = found.filter((value) => value >= low && value <= high);
    if (inside.length >= 3 || digits.length === 10) return inside.slice(-7);
  }
}

function thinned(losses) {
  const stride = Math.ceil(losses.length / FEW);
  return losses.filter((_, place) => place % stride === 0 || place === losses.length - 1);
}

function short(value) {
  return new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 }).format(value);
}

function svg(tag, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}
