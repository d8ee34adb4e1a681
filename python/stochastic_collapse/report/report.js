// The page: what is chosen (run, step, layer), and the sections that show it.

const data = JSON.parse(document.getElementById("data").textContent);
const {runs} = data;
const $ = id => document.getElementById(id);
const several = runs.length > 1;
const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));
const viridis = bytes(data.viridis);
const dark = matchMedia("(prefers-color-scheme: dark)");
const step = value => `step ${whole(value)}`;
const runColour = k => `var(--run${k % 7})`;
const viridisColour = level => `rgb(${viridis.slice(3 * level, 3 * level + 3).join(" ")})`;
/** Colours of things that have an order, such as layers by their depth: the part of the map that the paper sets off. */
const ordered = (k, n) => {
  const [from, to] = dark.matches ? [90, 250] : [20, 215];
  return viridisColour(Math.round(n > 1 ? from + (to - from) * k / (n - 1) : (from + to) / 2));
};
const total = values => values.every(v => v === null) ? null : values.reduce((a, b) => a + b, 0);
const share = (part, whole) => part === null || !whole ? null : part / whole;

const chosen = {run: 0, step: 0, layer: ""};
const run = () => runs[chosen.run];

/** Place in `steps` of the one nearest to `value`. */
const nearest = (steps, value) => steps.reduce((a, s, k) => Math.abs(s - value) < Math.abs(steps[a] - value) ? k : a, 0);
/** Place in `steps` of the last one not after `value`, else the first. */
const lastUpTo = (steps, value) => Math.max(0, steps.filter(s => s <= value).length - 1);

/** A table in `parent`: columns are [title, class]; rows are {cells, className?, head?}, their first cell a header. */
function table(parent, columns, rows) {
  const body = html("tbody", {}, ...rows.map(({cells, className = ""}) => html("tr", {class: className},
    ...cells.map((cell, k) => html(k ? "td" : "th", {...(k ? {} : {scope: "row"}), class: columns[k][1] || ""}, cell)))));
  const head = columns.map(([title, className = ""]) => html("th", {scope: "col", class: className}, title));
  parent.replaceChildren(html("table", {}, html("thead", {}, html("tr", {}, ...head)), body));
  return body;
}

const withShare = (after, before) => {
  const cell = html("span", {}, whole(after), " ");
  if (before) cell.append(html("small", {}, `(${percent(after / before, 0)})`));
  return cell;
};
/** A difference in percentage points, with its sign. */
function points(difference) {
  const rounded = Math.round(1000 * difference) / 10;
  return `${rounded > 0 ? "+" : rounded < 0 ? MINUS : ""}${Math.abs(rounded).toFixed(1)}`;
}
const known = (value, text) => value === null || value === undefined ? "–" : text(value);

// --- header: facts of the one run, or a table that compares several ------------------------------------------------

// What says how good a network is: its accuracy, or of real targets R².
const scoreName = runs.every(one => one.score === runs[0].score) ? {accuracy: "accuracy", r2: "R²"}[runs[0].score] : "score";
const scored = (one, v, digits) => one.score === "accuracy" ? percent(v, digits) : number(v, 3);
const scoreAxis = {yText: v => scored(runs[0], v, 2), yAxis: v => runs[0].score === "accuracy" ? `${number(100 * v)}%` : number(v)};
const gained = (one, row) => row.score_after === null || row.score_before === null ? "–" :
  one.score === "accuracy" ? `${points(row.score_after - row.score_before)} points` : number(row.score_after - row.score_before, 2);

function drawRuns() {
  $("runs").hidden = false;
  const columns = [["run"], ["step"], ["state", "left"], [`test ${scoreName}`], ["median of last 5"], ["independent"],
    [`neurons kept at ${data.tolerance}`], [`${scoreName} gained at ${data.tolerance}`]];
  const body = table($("runs"), columns, runs.map((one, k) => {
    const s = one.summary, c = s.compression;
    const button = html("button", {type: "button"}, html("i", {style: `background: ${runColour(k)}`}), one.label);
    button.addEventListener("click", () => chooseRun(k));
    return {cells: [button, whole(one.step), one.state, known(s.score, v => scored(one, v)), known(s.median_score, v => scored(one, v)),
      known(share(s.independent, s.neurons), v => percent(v, 0)), c ? withShare(c.neurons_after, c.neurons_before) : "–",
      c ? gained(one, c) : "–"]};
  }));
  return k => [...body.rows].forEach((row, place) => {
    row.classList.toggle("chosen", place === k);
    row.querySelector("button").setAttribute("aria-pressed", place === k);
  });
}

function drawFacts() {
  const facts = several ? [] : [...run().facts, run().state];
  $("facts").replaceChildren(...facts.map(fact => html("span", {}, fact)));
  const prefix = one => several ? `${one.label}: ` : "";
  $("notes").replaceChildren(...runs.flatMap(one => one.notes.map(note => html("li", {}, prefix(one) + note))));
  $("footer").textContent = `Written by stochastic-collapse ${data.version}, ${data.written}.`;
}

// --- training curves, of all runs ----------------------------------------------------------------------------------

const overTime = [];  // charts over steps, which mark the slider's position
function chartOverTime(parent, title, className) {
  const chart = new LineChart(parent, title, className);
  overTime.push(chart);
  return chart;
}
const againstSteps = {xName: "step", xText: step, pick: value => chooseStep(value)};

function drawTraining() {
  const of = name => runs.map((one, k) => ({name: one.label, colour: runColour(k), ...one.curves[name]}));
  const plain = value => number(value, 4);
  const curves = [
    ["train_loss", "Training loss", {log: true, yText: plain, yAxis: number, nothing: "no loss logged yet"}],
    ["eval_loss", "Test loss", {log: true, yText: plain, yAxis: number, nothing: "no evaluations yet"}],
    ["score", `Test ${scoreName}`, {...scoreAxis, nothing: "no evaluations yet"}],
    ...(runs.some(one => one.curves.bits.x.length) ? [["bits", "Test bits per token", {yText: plain, yAxis: number, nothing: "none"}]] : []),
    ["lr", "Learning rate", {zero: true, yText: plain, yAxis: tiny, nothing: "no learning rate logged yet"}],
  ];
  for (const [name, title, how] of curves)
    chartOverTime($("training"), title).show({...againstSteps, ...how, series: of(name)});
  if (several) {
    $("run-legend").replaceChildren(...runs.map((one, k) => html("span", {}, html("i", {style: `background: ${runColour(k)}`}), one.label)));
    chartOverTime($("training"), "Independent neurons, all layers", "wide").show({...againstSteps, ...fractions,
      series: runs.map((one, k) => ({name: one.label, colour: runColour(k), ...independentOf(one)}))});
  }
}

// --- collapse of the chosen run --------------------------------------------------------------------------------------

const fractions = {yText: v => percent(v), yAxis: v => `${Math.round(100 * v)}%`, range: [0, 1.02],
  nothing: "no collapse measured yet"};
const independentOf = ({collapse: c}) => ({x: c.steps, y: c.steps.map((_, s) => share(total(c.independent[s]), total(c.neurons[s])))});

let charts, bars;

function drawCollapse() {
  const c = run().collapse, n = c.layers.length;
  const of = values => c.layers.map((name, l) => ({
    name, colour: ordered(l, n), x: c.steps, y: c.steps.map((_, s) => values(s, l)),
    className: n > 3 && name !== chosen.layer ? "faint" : ""}));
  const independent = of((s, l) => share(c.independent[s][l], c.neurons[s][l]));
  if (n > 1) independent.push({name: "all layers", colour: "var(--ink)", className: "dashed", ...independentOf(run())});
  charts.independent.show({...againstSteps, ...fractions, series: independent});
  charts.rank.show({...againstSteps, ...fractions, yText: v => number(v), yAxis: v => number(v),
    series: of((s, l) => share(c.effective_rank[s][l], c.neurons[s][l]))});
}

/** The table of layers with their bars; returns a function that shows a place in the steps. */
function drawBars() {
  const c = run().collapse;
  if (!c.steps.length) {
    $("layers").replaceChildren(html("p", {class: "empty"}, "No collapse measured yet, and no checkpoint to measure."));
    return () => {};
  }
  const kinds = ["independent", "redundant", "vanished"];
  const columns = [["layer"], ["share of its neurons", "share left"], ["independent"], ["redundant", "optional"],
    ["vanished", "optional"], ["effective rank"]];
  const row = (name, l) => {
    const pieces = kinds.map(kind => html("i", {class: kind}));
    const stack = html("div", {class: "stack", role: "img"}, ...pieces);
    const cells = [0, 1, 2, 3].map(() => html("span"));
    let head = html("span", {}, name);
    if (l !== null) {
      head = html("button", {type: "button"}, html("i", {style: `background: ${ordered(l, c.layers.length)}`}), name);
      head.addEventListener("click", () => chooseLayer(name));
    }
    return {name, l, pieces, stack, cells, row: {cells: [head, stack, ...cells], className: l === null ? "total" : ""}};
  };
  const rows = c.layers.map(row);
  if (rows.length > 1) rows.push(row("all layers", null));
  const body = table($("layers"), columns, rows.map(one => one.row));
  body.dataset.bars = "";
  return s => rows.forEach(({name, l, pieces, stack, cells}, place) => {
    const of = values => l === null ? total(values[s]) : values[s][l];
    const n = of(c.neurons), independent = of(c.independent), vanished = of(c.vanished);
    const counts = n === null ? [0, 0, 0] : [independent, n - independent - vanished, vanished];
    pieces.forEach((piece, k) => piece.style.width = `${n ? 100 * counts[k] / n : 0}%`);
    stack.setAttribute("aria-label", `${name}: ${kinds.map((kind, k) => `${counts[k]} ${kind}`).join(", ")} of ${n ?? 0} neurons`);
    const rank = l === null ? null : c.effective_rank[s][l];
    cells[0].replaceChildren(whole(counts[0]), " ", html("small", {}, n ? `of ${whole(n)}` : ""));
    cells[1].textContent = whole(counts[1]);
    cells[2].textContent = whole(counts[2]);
    cells[3].textContent = l === null ? "" : known(rank, v => v.toFixed(1));
    body.rows[place].classList.toggle("chosen", name === chosen.layer);
  });
}

// --- distance matrices of the chosen layer -----------------------------------------------------------------------------

const canvases = {incoming: $("incoming"), outgoing: $("outgoing")};

function drawDistances() {
  const {layers, steps} = run().distances;
  const layer = layers.find(one => one.name === chosen.layer) || layers[0];
  $("distances").hidden = !layer;
  $("no-distances").hidden = Boolean(layer);
  if (!layer) return;
  const k = lastUpTo(steps, chosen.step), {side, neurons} = layer;
  const averaged = side < neurons ? `; averaged to ${side} × ${side} blocks` : "";
  $("frame").textContent = `${whole(neurons)} neurons${averaged}; checkpoint of ${step(steps[k])}`;
  for (const [part, canvas] of Object.entries(canvases)) {
    const levels = bytes(layer[part][k]);
    canvas.width = canvas.height = side;
    const image = new ImageData(side, side);
    for (let i = 0, at = 0; i < side; i++) for (let j = 0; j <= i; j++, at++)
      for (const pixel of [i * side + j, j * side + i]) {
        image.data.set(viridis.subarray(3 * levels[at], 3 * levels[at] + 3), 4 * pixel);
        image.data[4 * pixel + 3] = 255;
      }
    canvas.getContext("2d").putImageData(image, 0, 0);
    const close = levels.reduce((count, level) => count + (level < 0.1 / 2 * 255), 0) / levels.length;
    canvas.setAttribute("aria-label", `Distances between ${part} weights of ${layer.name} at ${step(steps[k])}: ` +
      `${percent(close, 0)} of them below 0.1`);
    canvas.onpointermove = event => {
      const box = canvas.getBoundingClientRect();
      const [j, i] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]
        .map(v => Math.min(side - 1, Math.max(0, Math.floor(v * side))));
      const level = levels[Math.max(i, j) * (Math.max(i, j) + 1) / 2 + Math.min(i, j)];
      const names = b => {
        const [first, last] = [Math.floor(b * neurons / side), Math.floor((b + 1) * neurons / side) - 1];
        return first === last ? `${first + 1}` : `${first + 1}–${last + 1}`;
      };
      $("cell").textContent = `${part}, ${names(i)} and ${names(j)}: ${level === 255 ? "2 or more" : (2 * level / 255).toFixed(2)}`;
    };
    canvas.onpointerleave = () => $("cell").textContent = "";
  }
}

// --- compression -------------------------------------------------------------------------------------------------------

/** The rows of the last checkpoint that was compressed. */
function lastCompression(one) {
  const last = one.compression.reduce((a, row) => Math.max(a, row.step), 0);
  return one.compression.filter(row => row.step === last);
}

function drawCompressionCurves() {
  if (!runs.some(one => one.compression.length)) return;
  const kept = row => share(row.neurons_after, row.neurons_before);
  const series = (x, y, notes) => runs.map((one, k) => {
    const rows = lastCompression(one);
    return {name: one.label, colour: runColour(k), dots: true, x: rows.map(x), y: rows.map(y), notes: rows.map(notes)};
  });
  const tolerance = row => `tolerance ${row.tolerance}`;
  new LineChart($("compression"), "Neurons kept against tolerance").show({...fractions, xName: "tolerance", xAxis: v => number(v),
    xText: v => `tolerance ${v}`, nothing: "nothing compressed yet",
    series: series(row => row.tolerance, kept, row => `${known(row.score_after, v => scored(runs[0], v, 2))} ${scoreName}`)});
  const scores = series(kept, row => row.score_after, tolerance);
  runs.forEach((one, k) => {
    const rows = lastCompression(one), ends = rows.map(kept);
    if (rows.length && rows[0].score_before !== null)
      scores.push({name: `${several ? `${one.label}, ` : ""}uncompressed`, colour: runColour(k), className: "dashed faint",
        x: [Math.min(...ends), 1], y: [rows[0].score_before, rows[0].score_before]});
  });
  new LineChart($("compression"), `Test ${scoreName} against neurons kept`).show({scatter: true, xName: "neurons kept",
    xAxis: v => percent(v, 0), xText: v => `${percent(v)} of the neurons kept`, ...scoreAxis,
    nothing: `${scoreName} was not measured`, series: scores});
}

function drawCompressionTable() {
  const rows = lastCompression(run());
  $("compression-table").hidden = !rows.length;
  const of = several ? `${run().label}: ` : "";
  const sentence = text => of ? of + text : text[0].toUpperCase() + text.slice(1);
  if (!rows.length) {
    $("compression-text").replaceChildren(sentence("nothing compressed yet. "), html("code", {}, `sc compress ${run().path}`),
      " removes the vanished neurons, merges the redundant ones and records what that costs.");
    return;
  }
  const before = rows[0];
  $("compression-text").textContent = sentence(`the network of ${step(before.step)} with its vanished neurons removed ` +
    "and its redundant ones merged. The tolerance is both the fraction of the largest norm below which a neuron has vanished and the " +
    "distance below which two are redundant; at 0 only what changes no output is removed. FLOPs, latency and " +
    "the change of outputs are those of one call on up to 100 test examples.");
  const time = v => v.toPrecision(3);
  const original = {className: "total", cells: ["uncompressed", whole(before.neurons_before), whole(before.parameters_before),
    short(before.flops_before), known(before.milliseconds_before, time), known(before.score_before, v => scored(run(), v, 2)), "", ""]};
  table($("compression-table"), [["tolerance"], ["neurons"], ["parameters"], ["FLOPs"], ["latency, ms"], [run().score === "accuracy" ? "accuracy" : "R²"], ["gained"],
    ["largest change of an output"]], [original, ...rows.map(row => ({className: row.tolerance === data.tolerance ? "strong" : "", cells: [
      String(row.tolerance), withShare(row.neurons_after, row.neurons_before), withShare(row.parameters_after, row.parameters_before),
      html("span", {}, short(row.flops_after), html("small", {}, ` (${percent(row.flops_after / row.flops_before, 0)})`)),
      known(row.milliseconds_after, time), known(row.score_after, v => scored(run(), v, 2)), gained(run(), row),
      known(row.largest_change, v => number(v, 2))]}))]);
}

// --- settings ----------------------------------------------------------------------------------------------------------

function drawSettings() {
  const one = run();
  const about = {run: one.path, state: `${one.state}, ${whole(one.step)} of ${whole(one.max_steps)} steps`,
    ...(one.seconds === null ? {} : {"seconds of training": one.seconds.toFixed(1)}), ...one.versions, report: data.version};
  const list = html("div", {class: "scroll"});
  table(list, [["", ""], ["", "left"]], Object.entries(about).map(([key, value]) => ({cells: [key, String(value)]})));
  $("settings").replaceChildren(html("details", {}, html("summary", {}, "Versions and execution"), list),
    html("details", {}, html("summary", {}, "Settings"), html("pre", {tabindex: "0"}, one.settings)));
}

// --- choosing ------------------------------------------------------------------------------------------------------------

function chooseStep(value) {
  const {steps} = run().collapse;
  if (!steps.length) return drawDistances();  // which says that there are none
  const k = nearest(steps, value);
  chosen.step = steps[k];
  $("step").value = k;
  $("step").setAttribute("aria-valuetext", step(chosen.step));
  $("step-text").textContent = step(chosen.step);
  bars(k);
  drawDistances();
  for (const chart of overTime) chart.mark(chosen.step);
}

function chooseLayer(name) {
  chosen.layer = name;
  $("layer").value = name;
  drawCollapse();
  chooseStep(chosen.step);
}

function chooseRun(k) {
  chosen.run = k;
  const {steps, layers, independent, neurons} = run().collapse;
  markRun?.(k);
  $("run").value = k;
  $("step").max = Math.max(0, steps.length - 1);
  $("step").disabled = $("play").disabled = steps.length < 2;
  $("layer").replaceChildren(...run().distances.layers.map(one => html("option", {value: one.name}, one.name)));
  const ends = layers.map((_, l) => share(independent.at(-1)[l], neurons.at(-1)[l]) ?? 1);
  if (!layers.includes(chosen.layer)) chosen.layer = layers[ends.indexOf(Math.min(...ends))] ?? "";  // the most collapsed one
  bars = drawBars();
  drawCompressionTable();
  drawSettings();
  chooseLayer(chosen.layer);
}

let playing = 0;
function play(on) {
  clearInterval(playing);
  playing = 0;
  $("play").textContent = on ? "❚❚" : "▶";
  $("play").setAttribute("aria-label", on ? "Pause" : "Play");
  if (!on) return;
  const {steps} = run().collapse;
  let k = Number($("step").value);
  if (k === steps.length - 1) k = -1;
  playing = setInterval(() => {
    k += 1;
    chooseStep(steps[k]);
    if (k >= steps.length - 1) play(false);
  }, Math.max(60, Math.min(400, 8000 / steps.length)));
}

drawFacts();
const markRun = several ? drawRuns() : null;
drawTraining();
charts = {
  independent: chartOverTime($("collapse"), "Independent neurons"),
  rank: chartOverTime($("collapse"), "Effective rank per neuron"),
};
drawCompressionCurves();
$("scale").style.background = `linear-gradient(to right, ${[0, 51, 102, 153, 204, 255].map(viridisColour).join(", ")})`;
$("run-choice").hidden = !several;
$("run").replaceChildren(...runs.map((one, k) => html("option", {value: k}, one.label)));
$("run").addEventListener("change", event => { play(false); chooseRun(Number(event.target.value)); });
$("layer").addEventListener("change", event => chooseLayer(event.target.value));
$("step").addEventListener("input", event => { play(false); chooseStep(run().collapse.steps[event.target.value]); });
$("play").addEventListener("click", () => play(!playing));
dark.addEventListener("change", () => chooseRun(chosen.run));
play(false);
// At first: the last step of the run that has collapsed most.
const left = runs.map(one => share(one.summary.independent, one.summary.neurons) ?? 1);
chosen.step = Number.MAX_SAFE_INTEGER;
chooseRun(left.indexOf(Math.min(...left)));
