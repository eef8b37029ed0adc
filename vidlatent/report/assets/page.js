"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const colour = (index) => `var(--k${index % 8})`;
const MINUS = "\u2212";

/* ---- numbers ---- */
function shown(value) {
  const size = Math.abs(value);
  const text = size === 0 ? "0" : size >= 1000 ? Math.round(value).toLocaleString("en") : String(+value.toPrecision(3));
  return text.replace("-", MINUS);
}
function ticks(low, high, count) {
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((k) => k * power).find((k) => k >= raw);
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-9; value += step) found.push(+value.toPrecision(12));
  return found;
}
function logTicks(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
    for (const k of high / low > 200 ? [1] : [1, 2, 5]) {
      const value = k * 10 ** power;
      if (value >= low * 0.999 && value <= high * 1.001) found.push(+value.toPrecision(6));
    }
  return found;
}

/* ---- charts: one function draws lines and points, on linear or logarithmic axes ---- */
const SHAPES = [
  (x, y, r) => `M${x - r},${y}a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0`,
  (x, y, r) => `M${x - r},${y - r}h${2 * r}v${2 * r}h${-2 * r}z`,
  (x, y, r) => `M${x},${y - 1.2 * r}l${1.2 * r},${2.1 * r}h${-2.4 * r}z`,
  (x, y, r) => `M${x},${y - 1.4 * r}l${1.4 * r},${1.4 * r}l${-1.4 * r},${1.4 * r}l${-1.4 * r},${-1.4 * r}z`,
  (x, y, r) => `M${x},${y + 1.2 * r}l${1.2 * r},${-2.1 * r}h${-2.4 * r}z`,
];
const marker = (index, x, y, r) => SHAPES[index % SHAPES.length](x, y, r);
const escaped = (text) => String(text).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);

function chart(id, { title, x, y, series, xLog = false, yLog = false, cursor = null, pick = null }) {
  const box = byId(`chart-${id}`);
  if (!box) return;
  const points = series.flatMap((s) => [...s.points, ...(s.dots || [])]).filter((p) => p[1] !== null);
  if (!points.length) { box.replaceChildren(); return; }
  const W = Math.max(280, Math.min(1200, box.clientWidth - 34)), H = Math.min(300, Math.round(W * 0.55)), left = 54, right = 16, top = 8, bottom = 40;
  const scale = (values, log, from, to) => {
    const f = log ? Math.log10 : (v) => v;
    let low = Math.min(...values), high = Math.max(...values);
    const margin = (f(high) - f(low)) * 0.06 || (log ? 0.3 : Math.abs(high) * 0.05 || 0.5);
    const a = f(low) - margin, b = f(high) + margin;
    const place = (v) => from + ((f(v) - a) / (b - a)) * (to - from);
    const invert = (p) => { const v = a + ((p - from) / (to - from)) * (b - a); return log ? 10 ** v : v; };
    return { place, invert, ticks: log && b - a > 0.9 ? logTicks(10 ** a, 10 ** b) : log ? ticks(10 ** a, 10 ** b, 5) : ticks(a, b, 5) };
  };
  const sx = scale(points.map((p) => p[0]), xLog, left, W - right), sy = scale(points.map((p) => p[1]), yLog, H - bottom, top);
  let svg = `<svg viewBox="0 0 ${W} ${H}" role="img" aria-label="${escaped(title)}">`;
  for (const v of sy.ticks) svg += `<line class="grid" x1="${left}" x2="${W - right}" y1="${sy.place(v)}" y2="${sy.place(v)}"/><text x="${left - 8}" y="${sy.place(v) + 4}" text-anchor="end">${shown(v)}</text>`;
  for (const v of sx.ticks) svg += `<text x="${sx.place(v)}" y="${H - bottom + 17}" text-anchor="middle">${shown(v)}</text>`;
  svg += `<text x="${(left + W - right) / 2}" y="${H - 4}" text-anchor="middle">${escaped(x)}</text>`;
  for (const s of series) {
    const c = colour(s.index);
    for (const [px, py] of s.dots || []) svg += `<path d="${marker(s.index, sx.place(px), sy.place(py), 2.2)}" fill="${c}" opacity=".35"/>`;
    if (s.line) {
      let d = "", pen = "M";
      for (const [px, py] of s.points) {
        if (py === null) { pen = "M"; continue; }
        d += `${pen}${sx.place(px).toFixed(1)},${sy.place(py).toFixed(1)}`; pen = "L";
      }
      svg += `<path class="series" d="${d}" stroke="${c}"${s.dashed ? ' stroke-dasharray="5 4"' : ""}><title>${escaped(s.name)}</title></path>`;
    }
    if (!s.line || s.points.length <= 24) for (const [px, py] of s.points) if (py !== null)
      svg += `<path d="${marker(s.index, sx.place(px), sy.place(py), s.line ? 3 : 6)}" fill="${c}"><title>${escaped(s.name)}: ${shown(px)}, ${shown(py)}</title></path>`;
  }
  svg += `<line class="cursor" y1="${top}" y2="${H - bottom}" style="display: none"/></svg>`;
  const legend = series.length < 2 ? "" : `<div class="legend">${series.map((s) => `<span><svg viewBox="0 0 14 14" aria-hidden="true"><path d="${marker(s.index, 7, 7, 4.5)}" fill="${colour(s.index)}"/></svg>${escaped(s.name)}</span>`).join("")}</div>`;
  box.innerHTML = `<h3>${escaped(title)}${y ? ` <span class="unit">${escaped(y)}</span>` : ""}</h3>${svg}${legend}`;
  const line = box.querySelector(".cursor"), drawing = box.querySelector("svg");
  box.moveCursor = (value) => {
    line.style.display = "";
    line.setAttribute("x1", sx.place(value)); line.setAttribute("x2", sx.place(value));
  };
  if (cursor !== null) box.moveCursor(cursor);
  if (pick) drawing.addEventListener("click", (event) => {
    const area = drawing.getBoundingClientRect();
    pick(sx.invert(((event.clientX - area.left) / area.width) * W));
  });
}

/* ---- sortable table ---- */
function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const first = head.querySelector("button").dataset.first;
    const other = first === "ascending" ? "descending" : "ascending";
    const order = head.getAttribute("aria-sort") === first ? other : first;
    heads.forEach((h) => h.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", order);
    const body = table.tBodies[0];
    const key = (row) => row.cells[column].dataset.value;
    const rows = [...body.rows].sort((a, b) => {
      const [p, q] = [key(a), key(b)];
      if (p === undefined || q === undefined) return (p === undefined) - (q === undefined);  // absent ones last
      const difference = isNaN(p) || isNaN(q) ? p.localeCompare(q) : p - q;
      return order === "ascending" ? difference : -difference;
    });
    body.append(...rows);
  }));
}

/* ---- player: one video holds original, reconstruction and error, so they never drift apart ---- */
class Player {
  constructor() {
    this.video = document.createElement("video");
    Object.assign(this.video, { muted: true, playsInline: true, preload: "auto", loop: true });
    this.wipe = byId("wipe"); this.scrub = byId("scrub"); this.button = byId("play");
    this.canvases = [byId("wipe-canvas"), byId("error-canvas")];
    this.urls = new Map(); this.frame = 0; this.drawn = -1; this.row = null;
    this.video.addEventListener("seeked", () => this.draw());
    this.video.addEventListener("loadeddata", () => this.seek(this.frame));
    this.video.addEventListener("error", () => { byId("readout").textContent = "This browser cannot play the embedded H.264 video."; });
    this.wipe.addEventListener("input", () => this.draw());
    this.scrub.addEventListener("input", () => { this.pause(); this.seek(+this.scrub.value); });
    this.button.addEventListener("click", () => this.toggle());
    const screen = byId("wipe-screen");
    const drag = (event) => {
      const area = screen.getBoundingClientRect();
      this.wipe.value = Math.max(0, Math.min(100, ((event.clientX - area.left) / area.width) * 100));
      this.draw();
    };
    screen.addEventListener("pointerdown", (event) => { screen.setPointerCapture(event.pointerId); drag(event); });
    screen.addEventListener("pointermove", (event) => { if (event.buttons) drag(event); });
    document.addEventListener("keydown", (event) => this.key(event));
  }
  count() { return this.row ? this.row.frames || this.row.frame_psnr.length : 0; }
  source(row) {
    if (row.src) return row.src;
    if (!this.urls.has(row.mp4)) {
      const bytes = Uint8Array.from(atob(byId(`media-${row.mp4}`).textContent), (c) => c.charCodeAt(0));
      this.urls.set(row.mp4, URL.createObjectURL(new Blob([bytes], { type: "video/mp4" })));
    }
    return this.urls.get(row.mp4);
  }
  show(row, frame = null) {
    this.row = row;
    this.frame = Math.min(frame ?? this.frame, this.count() - 1);
    this.scrub.max = this.count() - 1;
    const { width, height } = row.panel;
    for (const canvas of this.canvases) Object.assign(canvas, { width, height });
    byId("candidate-tag").textContent = data.candidates[row.candidate].candidate;
    byId("error-tag").textContent = `error \u00d7 ${data.gain}`;
    for (const button of document.querySelectorAll("#clip-table button"))
      button.setAttribute("aria-pressed", +button.dataset.clip === row.clip && +button.dataset.candidate === row.candidate);
    this.curves();
    this.video.src = this.source(row);
    this.label();
  }
  curves() {
    const step = this.row.frames_per_point || 1;
    const series = data.rows.filter((r) => r.clip === this.row.clip).sort((a, b) => a.candidate - b.candidate).map((r) => ({
      name: data.candidates[r.candidate].candidate, index: r.candidate, line: true, dashed: r.candidate !== this.row.candidate,
      points: r.frame_psnr.map((v, i) => [i * step, v]),
    }));
    chart("frames", { title: `PSNR of each frame, ${data.clips[this.row.clip]}`, y: "dB", x: "frame", series, cursor: this.frame,
      pick: (value) => { this.pause(); this.seek(Math.round(value)); } });
  }
  seek(frame) {
    this.frame = Math.max(0, Math.min(this.count() - 1, frame));
    if (this.video.duration) this.video.currentTime = ((this.frame + 0.5) / this.count()) * this.video.duration;
    // "seeked" may come before the frame is there to be drawn: where the browser tells when it is, it is drawn again.
    this.video.requestVideoFrameCallback?.(() => this.draw());
    this.label();
  }
  label() {
    this.scrub.value = this.frame;
    byId("frame").textContent = `${this.frame} / ${this.count() - 1}`;
    const psnr = this.row.frame_psnr[Math.floor(this.frame / (this.row.frames_per_point || 1))];
    byId("readout").textContent = `frame ${this.frame}: ${psnr >= 200 ? "no error" : `${psnr.toFixed(2)} dB`}`;
    byId("chart-frames").moveCursor?.(this.frame);
  }
  draw() {
    if (!this.row || this.video.readyState < 2) return;
    const { width, height, top, gap } = this.row.panel, part = +this.wipe.value / 100;
    const [wipe, error] = this.canvases.map((canvas) => canvas.getContext("2d"));
    const panel = (context, index, from, to) => {
      if (to > from) context.drawImage(this.video, index * (width + gap) + from, top, to - from, height, from, 0, to - from, height);
    };
    const edge = Math.round(part * width);
    panel(wipe, 0, 0, edge);
    panel(wipe, 1, edge, width);
    byId("wipe-line").style.left = `${part * 100}%`;
    panel(error, 2, 0, width);
    this.drawn = this.video.seeking ? -1 : this.frame;
  }
  toggle() { this.video.paused ? this.play() : this.pause(); }
  play() {
    this.video.play();
    this.button.textContent = "Pause";
    const step = () => {
      if (this.video.paused) return;
      this.frame = Math.min(this.count() - 1, Math.floor((this.video.currentTime / this.video.duration) * this.count()));
      this.label(); this.draw();
      requestAnimationFrame(step);
    };
    step();
  }
  pause() { this.video.pause(); this.button.textContent = "Play"; }
  key(event) {
    if (!this.row || event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = /^(INPUT|SUMMARY)$/.test(event.target.tagName), pressing = event.target.tagName === "BUTTON";
    if (event.key === " " && !typing && !pressing) { event.preventDefault(); this.toggle(); }
    else if (/^Arrow(Left|Right)$/.test(event.key) && !typing && !event.target.closest?.(".scroll")) {
      event.preventDefault(); this.pause(); this.seek(this.frame + (event.key === "ArrowRight" ? 1 : -1));
    } else if (/^[1-9]$/.test(event.key) && !typing) {
      const row = data.rows.find((r) => r.clip === this.row.clip && r.candidate === event.key - 1 && (r.mp4 || r.src));
      if (row) { this.pause(); this.show(row); }
    }
  }
}

/* ---- the page ---- */
byId("theme").addEventListener("click", () => {
  const dark = getComputedStyle(document.documentElement).colorScheme.includes("dark");
  document.documentElement.dataset.theme = dark ? "light" : "dark";
});
const table = byId("ranking-table");
if (table) sortable(table);

// Empty charts are not displayed: all are given something first, or the first would be drawn as wide as its row.
for (const box of document.querySelectorAll(".chart")) box.textContent = "\u00a0";
const names = data.candidates.map((c) => c.candidate);
const scatter = (id, options, across, up) => chart(id, { ...options, series: data.candidates.flatMap((c, index) => {
  const dots = data.rows.filter((r) => r.candidate === index && r[across] > 0 && r[up] < 200).map((r) => [r[across], r[up]]);
  return c[across] > 0 && c[up] != null ? [{ name: names[index], index, points: [[c[across], c[up]]], dots }] : [];
}) });
scatter("rate", { title: "Rate and distortion", y: "PSNR in dB", x: "bits per pixel (logarithmic)", xLog: true }, "rate_bits_per_pixel", "rate_psnr");
scatter("speed", { title: "Speed and quality", y: "PSNR in dB", x: "decoded frames per second (logarithmic)", xLog: true }, "decode_fps", "psnr");

const curve = (id, options, key, place, extra = []) => chart(id, { ...options, series: [...data.candidates.flatMap((c, index) =>
  c[key] ? [{ name: names[index], index, line: true, points: c[key].map((v, i) => [place(i, c[key].length), v]) }] : []), ...extra] });
const original = data.candidates.find((c) => c.spectrum_of_original);
const band = (i, n) => (i + 0.5) / n;
curve("group", { title: "PSNR by position in a latent frame's group", y: "dB", x: "position; 0 is the clip's first frame" }, "group_psnr", (i) => i);
curve("spectrum", { title: "Spectrum of frames", y: "power, logarithmic", x: "spatial frequency", yLog: true }, "spectrum", band,
  original ? [{ name: "original", index: 6, line: true, dashed: true, points: original.spectrum_of_original.map((v, i) => [band(i, original.spectrum_of_original.length), v]) }] : []);
curve("latent", { title: "Spectrum of latents", y: "power, logarithmic", x: "spatial frequency", yLog: true }, "latent_spectrum", band);
curve("eigen", { title: "Eigenspectrum of latent channels", y: "share of the variance", x: "component" }, "latent_eigenvalues", (i) => i + 1);

if (byId("player")) {
  const playable = data.rows.filter((r) => r.mp4 || r.src);
  if (names.length < 2) document.querySelectorAll(".many").forEach((e) => e.remove());
  const player = new Player();
  window.player = player;
  for (const button of document.querySelectorAll("#clip-table button")) button.addEventListener("click", () => {
    const row = playable.find((r) => r.clip === +button.dataset.clip && r.candidate === +button.dataset.candidate);
    if (row) { player.pause(); player.show(row); }
  });
  const gallery = byId("worst-gallery");
  if (gallery) {
    const lowest = (r) => r.frame_psnr[r.worst_frame];
    const worst = names.flatMap((_, index) => data.rows.filter((r) => r.jpg && r.candidate === index).sort((a, b) => lowest(a) - lowest(b)).slice(0, 3));
    for (const row of worst) {
      const button = document.createElement("button"), figure = document.createElement("figure");
      const text = `${names[row.candidate]}, ${data.clips[row.clip]}, frame ${row.worst_frame}: ${lowest(row).toFixed(2)} dB`;
      figure.innerHTML = `<img alt="${escaped(text)}"><figcaption>${escaped(text)}</figcaption>`;
      figure.firstChild.src = `data:image/jpeg;base64,${byId(`media-${row.jpg}`).textContent}`;
      button.type = "button"; button.append(figure);
      button.addEventListener("click", () => { player.pause(); player.show(row, row.worst_frame); byId("player").scrollIntoView({ block: "start" }); });
      gallery.append(button);
    }
  }
  const model = data.candidates.findIndex((c) => c.kind === "model");
  const first = playable.find((r) => r.candidate === Math.max(model, 0)) || playable[0];
  if (first) player.show(first, 0);
}
document.documentElement.dataset.ready = "yes";
