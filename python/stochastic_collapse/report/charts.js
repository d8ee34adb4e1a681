"use strict";
// Line charts in SVG: axes, curves, a mark that follows the slider, values under the pointer.

/** A new HTML element; attributes by name, children as elements or text. */
function html(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const MINUS = "−";
const number = (value, digits = 3) => Number(value.toPrecision(digits)).toLocaleString("en", {maximumSignificantDigits: digits})
  .replace("-", MINUS);
const whole = value => value.toLocaleString("en");
const percent = (value, digits = 1) => `${(100 * value).toFixed(digits)}%`.replace("-", MINUS);

/** A number of steps for an axis: 20000 → 20k. */
function short(value) {
  const [unit, name] = value >= 1e6 ? [1e6, "M"] : value >= 1e3 ? [1e3, "k"] : [1, ""];
  return `${Number((value / unit).toPrecision(3))}${name}`;
}

/** A number for an axis with a logarithmic scale: 0.001, 1e-5. */
const tiny = value => value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(0).replace("-", MINUS) : number(value);

/** About `count` round numbers between `low` and `high`. */
function roundTicks(low, high, count) {
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map(m => m * power).find(s => s >= raw * 0.999);
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) ticks.push(Number((k * step).toPrecision(12)));
  return ticks;
}

/** Powers of ten between `low` and `high`, at most five; with 2 and 5 between them where there are few. */
function logTicks(low, high) {
  const first = Math.ceil(Math.log10(low) - 1e-9), last = Math.floor(Math.log10(high) + 1e-9);
  if (last - first < 1) {
    const ticks = [];
    for (let e = first - 1; e <= last; e++) for (const m of [1, 2, 5]) ticks.push(Number((m * 10 ** e).toPrecision(3)));
    return ticks.filter(t => t >= low && t <= high);
  }
  const stride = Math.ceil((last - first + 1) / 5), ticks = [];
  for (let e = first; e <= last; e += stride) ticks.push(Number(`1e${e}`));
  return ticks;
}

const LEFT = 46, RIGHT = 10, TOP = 8, BOTTOM = 34, HEIGHT = 210;

/** A chart in a figure of its own, appended to `parent`.
 *
 *  `show` takes series, each {name, colour, x, y, className?, dots?, notes?}, and how to draw them: xName, xText and
 *  yText for values in words, yAxis for those on the axis, log (logarithmic where the values span enough), range
 *  [low, high] of y, zero (y begins there), pick(x) for clicks, nothing (what to say where there is no value). `mark` draws the slider's position. */
class LineChart {
  constructor(parent, title, className = "") {
    this.figure = document.getElementById("chart").content.firstElementChild.cloneNode(true);
    if (className) this.figure.classList.add(className);
    this.caption = this.figure.querySelector("figcaption");
    this.svg = this.figure.querySelector("svg");
    this.tip = this.figure.querySelector(".tip");
    this.caption.textContent = this.title = title;
    this.spec = null;
    this.position = null;
    parent.append(this.figure);
    this.svg.addEventListener("pointermove", event => this.hover(event));
    this.svg.addEventListener("pointerleave", () => this.leave());
    this.svg.addEventListener("click", event => this.spec?.pick && this.x && this.spec.pick(this.x.from(this.place(event)[0])));
    new ResizeObserver(() => this.svg.clientWidth !== this.width && this.draw()).observe(this.figure);
  }

  show(spec) {
    this.spec = spec;
    this.draw();
  }

  mark(position) {
    this.position = position;
    if (!this.now) return;
    const inside = this.x && position !== null && position >= this.x.low && position <= this.x.high;
    this.now.setAttribute("visibility", inside ? "visible" : "hidden");
    if (inside) this.vertical(this.now, this.x.to(position));
  }

  add(name, attributes, text) {
    const element = document.createElementNS(this.svg.namespaceURI, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    this.svg.append(element);
    return element;
  }

  vertical(line, x) {
    for (const [key, value] of Object.entries({x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM})) line.setAttribute(key, value);
  }

  draw() {
    this.width = this.svg.clientWidth;
    this.svg.replaceChildren();
    this.leave();
    this.x = this.now = null;
    if (!this.spec || !this.width) return;
    const {spec} = this;
    this.svg.classList.toggle("picks", Boolean(spec.pick));
    const points = spec.series.map(s => s.x.map((x, k) => [x, s.y[k], k]).filter(p => p[0] !== null && p[1] !== null));
    const all = points.flat();
    if (!all.length) {
      this.add("text", {x: this.width / 2, y: HEIGHT / 2, "text-anchor": "middle", class: "nothing"}, spec.nothing);
      this.svg.setAttribute("aria-label", `${this.title}: ${spec.nothing}`);
      return;
    }
    this.scales(all);
    this.axes();
    this.now = this.add("line", {class: "now", visibility: "hidden"});
    this.shown = spec.series.map((s, k) => ({...s, points: points[k]}));
    for (const s of this.shown) this.curve(s);
    this.mark(this.position);
    this.hair = this.add("line", {class: "hair", visibility: "hidden"});
    this.spot = this.add("g", {});
    const ends = this.shown.filter(s => s.points.length).map(s => `${s.name}: ${spec.yText(s.points.at(-1)[1])}`);
    this.svg.setAttribute("aria-label", `${this.title} against ${spec.xName}. At the end: ${ends.join("; ")}.`);
  }

  scales(all) {
    const ends = values => [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
    const linear = (low, high, begin, end) => ({
      low, high,
      to: v => begin + (v - low) / (high - low) * (end - begin),
      from: p => low + (p - begin) / (end - begin) * (high - low),
    });
    let [left, right] = ends(all.map(p => p[0]));
    if (left === right) [left, right] = [left - (left ? Math.abs(left) / 2 : 0.5), right + (right ? Math.abs(right) / 2 : 0.5)];
    this.x = linear(left, right, LEFT, this.width - RIGHT);
    let [low, high] = ends(all.map(p => p[1]));
    this.log = Boolean(this.spec.log) && low > 0 && high / low > 20;
    this.caption.textContent = this.title + (this.log ? ", logarithmic" : "");
    if (this.log) {
      const scale = linear(Math.log10(low) - 0.05, Math.log10(high) + 0.05, HEIGHT - BOTTOM, TOP);
      this.y = {low, high, to: v => scale.to(Math.log10(v))};
      return;
    }
    if (this.spec.zero) low = Math.min(0, low);
    if (this.spec.range) [low, high] = this.spec.range;
    else if (this.spec.zero) high *= 1.05;
    else if (low === high) [low, high] = [low - (Math.abs(low) / 10 || 1), high + (Math.abs(high) / 10 || 1)];
    else [low, high] = [low - (high - low) * 0.04, high + (high - low) * 0.04];
    this.y = linear(low, high, HEIGHT - BOTTOM, TOP);
  }

  axes() {
    const {spec, x, y} = this, bottom = HEIGHT - BOTTOM;
    for (const tick of this.log ? logTicks(y.low, y.high) : roundTicks(y.low, y.high, 4)) {
      this.add("line", {class: "gridline", x1: LEFT, x2: this.width - RIGHT, y1: y.to(tick), y2: y.to(tick)});
      this.add("text", {x: LEFT - 7, y: y.to(tick) + 4, "text-anchor": "end"}, this.log ? tiny(tick) : spec.yAxis(tick));
    }
    this.add("line", {class: "axis", x1: LEFT, x2: this.width - RIGHT, y1: bottom, y2: bottom});
    for (const tick of roundTicks(x.low, x.high, this.width > 420 ? 5 : 3))
      this.add("text", {x: x.to(tick), y: bottom + 15, "text-anchor": "middle"}, (spec.xAxis || short)(tick));
    this.add("text", {x: (LEFT + this.width - RIGHT) / 2, y: HEIGHT - 3, "text-anchor": "middle"}, spec.xName);
  }

  curve({points, colour, className = "", dots}) {
    const at = points.map(([x, y]) => [this.x.to(x), this.y.to(y)].map(v => v.toFixed(1)));
    this.add("path", {class: `line ${className}`, style: `stroke: ${colour}`, d: at.map((p, k) => `${k ? "L" : "M"}${p}`).join("")});
    if (dots || points.length === 1)
      for (const [cx, cy] of at) this.add("circle", {cx, cy, r: 3, style: `fill: ${colour}`});
  }

  place(event) {
    const box = this.svg.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  /** Of each series the value nearest to the pointer; of many series those nearest in height. */
  hover(event) {
    if (!this.x) return;
    const [px, py] = this.place(event);
    const reach = 24;  // pixels from a value at which it still counts
    let found = this.shown.filter(s => s.points.length).map(s => {
      const nearest = s.points.reduce((a, b) => this.off(b, px, py, s) < this.off(a, px, py, s) ? b : a);
      return {s, nearest, sx: this.x.to(nearest[0]), sy: this.y.to(nearest[1])};
    });
    const best = Math.min(...found.map(f => Math.abs(f.sx - px)));
    found = found.filter(f => Math.abs(f.sx - px) <= Math.max(best + 0.5, this.spec.scatter ? 0 : reach));
    found.sort((a, b) => Math.abs(a.sy - py) - Math.abs(b.sy - py));
    found = found.slice(0, 6).sort((a, b) => a.sy - b.sy);
    if (!found.length) return;
    const x = found.reduce((a, b) => Math.abs(b.sx - px) < Math.abs(a.sx - px) ? b : a);
    this.hair.setAttribute("visibility", "visible");
    this.vertical(this.hair, x.sx);
    this.spot.replaceChildren();
    for (const {s, sx, sy} of found) this.spot.append(this.add("circle", {cx: sx, cy: sy, r: 3.5, style: `fill: ${s.colour}`}));
    this.tip.replaceChildren(this.spec.xText(x.nearest[0]), ...found.map(({s, nearest}) => html("div", {},
      html("i", {style: `background: ${s.colour}`}), html("span", {}, s.name),
      html("span", {}, this.spec.yText(nearest[1]) + (s.notes ? ` · ${s.notes[nearest[2]]}` : "")))));
    this.tip.hidden = false;
    const right = x.sx + 14 + this.tip.offsetWidth < this.width;
    this.tip.style.left = `${Math.max(0, right ? x.sx + 14 : x.sx - 14 - this.tip.offsetWidth)}px`;
    this.tip.style.top = `${this.caption.offsetHeight + TOP}px`;
  }

  /** How far a value is from the pointer, in pixels: along x, in a scatter in both directions. */
  off(point, px, py, series) {
    const dx = this.x.to(point[0]) - px;
    return series.dots && this.spec.scatter ? Math.hypot(dx, this.y.to(point[1]) - py) : Math.abs(dx);
  }

  leave() {
    this.tip.hidden = true;
    this.hair?.setAttribute("visibility", "hidden");
    this.spot?.replaceChildren();
  }
}
