// Shows one scene and a panel beside it. The element `root` holds the data as JSON; whatever stands
// in a file, such as its name, is put on the page as text and never as HTML.
"use strict";
function pcinvScene(root) {
  const find = (name) => root.querySelector(`.pcinv-${name}`);
  const data = JSON.parse(root.querySelector("script").textContent);
  const panel = find("panel"), canvas = find("canvas");
  const state = { mode: data.mode, pinned: [], labels: [] };
  let view;
  try {
    view = new PcinvView(canvas, data.camera, data.middle, data.radius);
  } catch (error) {
    make("p", panel, `The scene cannot be drawn: ${error.message}.`);
    return;
  }
  canvas.addEventListener("webglcontextlost", () => {
    make("p", panel, "The graphics card was taken away; load the page again.");
  });

  function array(told) {
    const kinds = { f4: Float32Array, f8: Float64Array, u1: Uint8Array, i1: Int8Array,
      u2: Uint16Array, i2: Int16Array, u4: Uint32Array, i4: Int32Array };
    const letters = atob(told.data), bytes = new Uint8Array(letters.length);
    for (let k = 0; k < letters.length; k++) bytes[k] = letters.charCodeAt(k);
    return new kinds[told.type](bytes.buffer);
  }
  function colors(told) { // (N, 3) bytes, from a palette where there is one
    const palette = array(told.palette);
    if (!told.index) return palette;
    const index = array(told.index), all = new Uint8Array(3 * index.length);
    for (let k = 0; k < index.length; k++) {
      for (let side = 0; side < 3; side++) all[3 * k + side] = palette[3 * index[k] + side];
    }
    return all;
  }
  function make(tag, parent, text, kind) {
    const made = document.createElement(tag);
    if (text) made.textContent = text;
    if (kind) made.className = `pcinv-${kind}`;
    parent.appendChild(made);
    return made;
  }
  function check(box, on, change, color, words, count) {
    const label = make("label", box), tick = make("input", label);
    tick.type = "checkbox";
    tick.checked = on;
    tick.onchange = () => change(tick.checked);
    if (color) make("span", label, "", "swatch").style.background = color;
    make("span", label, words, "words");
    if (count !== undefined) make("span", label, count.toLocaleString("en"), "count");
  }
  function group(title) {
    const box = make("fieldset", panel);
    make("legend", box, title);
    return box;
  }

  const layers = data.layers.map((layer) => {
    const places = array(layer.points), rows = layer.rows && array(layer.rows);
    const faces = layer.faces && Uint32Array.from(array(layer.faces));
    const item = view.add(faces ? "mesh" : "points",
      { place: places, color: colors(layer.colors[state.mode]) }, layer.visible, faces);
    return { ...layer, places, rows, item,
      values: layer.values.map((each) => ({ ...each, array: array(each) })) };
  });
  const lines = data.lines.map((each) => ({ ...each, item: view.add("lines",
    { start: array(each.start), end: array(each.end), color: colors(each.colors) }, each.visible) }));
  const frame = view.add("lines", box(data.box), false);
  const marks = view.add("points", { place: new Float32Array(), color: new Uint8Array() }, true);
  marks.size = 11;
  const ruler = view.add("lines", { start: new Float32Array(), end: new Float32Array(),
    color: new Uint8Array() }, true);

  function box([low, high]) { // twelve edges; red, green and blue from the lower corner
    const start = [], end = [], color = [];
    for (let k = 0; k < 3; k++) {
      for (let other = 0; other < 4; other++) {
        const corner = [0, 1, 2].map((side) => {
          const bit = side === (k + 1) % 3 ? other & 1 : other >> 1;
          return (side === k ? low : bit ? high : low)[side];
        });
        start.push(...corner);
        end.push(...corner.map((value, side) => (side === k ? high[side] : value)));
        color.push(...(other ? [128, 128, 128] : [0, 1, 2].map((side) => (side === k ? 230 : 40))));
      }
    }
    return { start: new Float32Array(start), end: new Float32Array(end), color: new Uint8Array(color) };
  }
  function label() { // letters at the ends of the box
    if (!frame.visible) return;
    state.labels.forEach((letter, k) => {
      const [x, y, seen] = view.project(data.box[0].map((low, side) => data.box[side === k ? 1 : 0][side]));
      letter.style.display = seen ? "" : "none";
      letter.style.transform = `translate(${x}px, ${y}px)`;
    });
  }
  view.onDrawn = label;

  function legend() {
    key.replaceChildren();
    data.modes.find((mode) => mode.name === state.mode).legends.forEach((told) => {
      make("div", key, told.title, "name");
      told.entries.forEach(([words, color]) => {
        const line = make("label", key);
        make("span", line, "", "swatch").style.background = color;
        make("span", line, words, "words");
      });
      if (!told.numbers) return;
      make("div", key, "", "bar").style.background = `linear-gradient(to right, ${data.bar.join()})`;
      const numbers = make("div", key, "", "numbers");
      told.numbers.forEach(([share, words]) => {
        const number = make("span", numbers, words);
        number.style.left = `${100 * share}%`;
        number.style.transform = `translateX(${-100 * share}%)`; // the ends stay within the bar
      });
    });
  }

  const place = (found) => [0, 1, 2].map(
    (side) => layers[found.layer].places[3 * found.point + side] + data.origin[side]);
  function tell(found) { // coordinates of the file, in float64, and all that the file says
    facts.replaceChildren();
    if (!found) {
      make("span", facts, "Point at the scene to read it. Click two points to measure; double click one to turn about it.");
      return;
    }
    const layer = layers[found.layer], table = make("table", facts);
    const row = (name, words) => {
      const line = make("tr", table);
      make("td", line, name);
      make("td", line, words);
    };
    row("layer", layer.name);
    row("row", String(layer.rows ? layer.rows[found.point] : found.point));
    place(found).forEach((value, side) => row("xyz"[side], value.toFixed(data.decimals)));
    layer.values.forEach((each) => {
      const from = found.point * each.columns;
      row(each.name, Array.from(each.array.subarray(from, from + each.columns),
        (value) => (Number.isInteger(value) ? String(value) : value.toPrecision(6))).join(" "));
    });
    if (state.pinned.length === 2) {
      const [a, b] = state.pinned.map(place);
      row("distance", Math.hypot(...a.map((value, side) => value - b[side])).toFixed(data.decimals));
    }
  }
  function pin(found) {
    const last = state.pinned.at(-1);
    if (found && last && found.layer === last.layer && found.point === last.point) return;
    state.pinned = found ? [...state.pinned.slice(-1), found] : [];
    const at = state.pinned.map(({ layer, point }) => [...layers[layer].places.subarray(3 * point, 3 * point + 3)]);
    const red = at.flatMap(() => [213, 94, 0]), both = at.length === 2;
    view.fill(marks, "place", new Float32Array(at.flat()));
    view.fill(marks, "color", new Uint8Array(red));
    view.fill(ruler, "color", new Uint8Array(both ? red.slice(3) : []));
    view.fill(ruler, "start", new Float32Array(both ? at[0] : []));
    view.fill(ruler, "end", new Float32Array(both ? at[1] : []));
    tell(found);
  }
  function under(event) {
    const at = canvas.getBoundingClientRect();
    let best = null;
    layers.forEach((layer, k) => {
      if (!layer.item.visible) return;
      const found = view.pick(layer.places, event.clientX - at.left, event.clientY - at.top);
      if (pcinvBefore(found, best)) best = { ...found, layer: k };
    });
    return best;
  }
  canvas.ondblclick = (event) => { // the point that the view turns about
    const found = under(event);
    if (found) view.turnAbout(layers[found.layer].places.subarray(3 * found.point, 3 * found.point + 3));
  };
  pcinvPointer(canvas, view, (event) => { if (!state.pinned.length) tell(under(event)); },
    (event) => { const found = under(event); if (found) pin(found); });

  const show = (item) => (on) => { item.visible = on; view.ask(); };
  const boxes = layers.length ? group("Layers") : null;
  layers.forEach((each) => check(boxes, each.visible, show(each.item), each.color, each.name, each.count));
  const listed = lines.length ? group("Lines") : null;
  lines.forEach((each) => check(listed, each.visible, show(each.item), each.color, each.name, each.count));

  const shade = group("Colour"), select = make("select", shade);
  select.setAttribute("aria-label", "colour");
  data.modes.forEach((mode) => { make("option", select, mode.name).value = mode.name; });
  select.value = state.mode;
  select.onchange = () => {
    state.mode = select.value;
    layers.forEach((each) => view.fill(each.item, "color", colors(each.colors[state.mode])));
    legend();
  };
  const key = make("div", shade, "", "legend");

  const looks = group("View"), wide = make("label", looks, "points"), size = make("input", wide);
  Object.assign(size, { type: "range", min: 0.5, max: Math.max(12, data.size), step: 0.1, value: data.size });
  view.size = data.size;
  size.oninput = () => { view.size = Number(size.value); view.ask(); };
  check(looks, false, (on) => {
    state.labels.forEach((letter) => { letter.hidden = !on; });
    show(frame)(on);
  }, null, "box and axes");
  state.labels = ["x", "y", "z"].map((name) => make("span", find("view"), name, "letter"));
  state.labels.forEach((letter) => { letter.hidden = true; });
  check(looks, false, (on) => {
    root.classList.toggle("pcinv-dark", on);
    view.paper = on ? [0.086, 0.094, 0.11] : [1, 1, 1];
    view.ask();
  }, null, "dark background");
  make("button", looks, "Reset view").onclick = () => view.reset();
  make("button", looks, "Save picture").onclick = () => {
    view.draw(); // what is drawn is kept until the browser shows it
    canvas.toBlob((picture) => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(picture);
      link.download = "scene.png";
      link.click();
      URL.revokeObjectURL(link.href);
    });
  };
  const point = group("Point"), facts = make("div", point, "", "point");
  make("button", point, "Clear").onclick = () => pin(null);
  legend();
  tell(null);
  view.draw();
  root.dataset.ready = "yes";
}

// Drag turns; with the right button, Shift or Ctrl it shifts; the wheel or two fingers zoom.
function pcinvPointer(canvas, view, hover, click) {
  const down = new Map();
  let path = 0, waiting = null;
  const gap = () => {
    const [a, b] = [...down.values()];
    return Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
  };
  canvas.oncontextmenu = (event) => event.preventDefault();
  canvas.onpointerdown = (event) => {
    canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, event);
    path = down.size > 1 ? 100 : 0;
  };
  canvas.onpointermove = (event) => {
    const before = down.get(event.pointerId);
    if (!before) {
      if (!waiting) requestAnimationFrame(() => { if (!down.size) hover(waiting); waiting = null; });
      waiting = event;
      return;
    }
    const right = event.clientX - before.clientX, low = event.clientY - before.clientY;
    path += Math.hypot(right, low);
    const apart = down.size === 2 ? gap() : 0;
    down.set(event.pointerId, event);
    if (down.size === 2) {
      view.zoom(apart / Math.max(gap(), 1));
      view.shift(right / 2, low / 2);
    } else if (event.buttons & 6 || event.shiftKey || event.ctrlKey) view.shift(right, low);
    else view.turn(right, low);
  };
  canvas.onpointerup = (event) => {
    if (down.delete(event.pointerId) && path < 4 && event.button === 0) click(event);
  };
  canvas.onpointercancel = (event) => down.delete(event.pointerId);
  canvas.addEventListener("wheel", (event) => { // what is under the pointer stays there
    event.preventDefault();
    const factor = Math.exp(0.0015 * Math.max(-200, Math.min(200, event.deltaY)));
    view.shift((factor - 1) * (event.offsetX - canvas.clientWidth / 2),
      (factor - 1) * (event.offsetY - canvas.clientHeight / 2));
    view.zoom(factor);
  }, { passive: false });
}
