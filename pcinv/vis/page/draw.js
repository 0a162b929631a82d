// Draws points, meshes and lines with WebGL 2, and finds the point under the pointer.
"use strict";
class PcinvView {
  constructor(canvas, camera, middle, radius) {
    this.gl = canvas.getContext("webgl2", { antialias: false, alpha: false });
    if (!this.gl) throw new Error("this browser has no WebGL 2");
    Object.assign(this, { canvas, middle, radius, items: [], size: 2, paper: [1, 1, 1], asked: 0 });
    this.programs = Object.fromEntries(Object.entries(PCINV_SHADERS).map(
      ([name, parts]) => [name, this.program(parts)]));
    this.image = this.gl.createTexture();
    this.depth = this.gl.createTexture();
    this.frame = this.gl.createFramebuffer();
    this.start = camera;
    this.reset();
    new ResizeObserver(() => this.ask()).observe(canvas);
  }

  program(parts) {
    const gl = this.gl, made = gl.createProgram();
    parts.forEach((text, k) => {
      const shader = gl.createShader(k ? gl.FRAGMENT_SHADER : gl.VERTEX_SHADER);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(made, shader);
    });
    gl.linkProgram(made);
    if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(made));
    return made;
  }

  // kind: "points", "mesh" or "lines"; arrays: name -> Float32Array or Uint8Array of three columns
  add(kind, arrays, visible, faces) {
    const gl = this.gl, item = { kind, visible, vertices: gl.createVertexArray(), buffers: {} };
    for (const [name, values] of Object.entries(arrays)) this.fill(item, name, values);
    if (faces) {
      gl.bindVertexArray(item.vertices);
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
      gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, faces, gl.STATIC_DRAW);
      item.count = faces.length;
    }
    this.items.push(item);
    return item;
  }

  fill(item, name, values) {
    const gl = this.gl, at = gl.getAttribLocation(this.programs[item.kind], name);
    gl.bindVertexArray(item.vertices);
    gl.bindBuffer(gl.ARRAY_BUFFER, item.buffers[name] ??= gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(at);
    const whole = values instanceof Uint8Array;
    gl.vertexAttribPointer(at, 3, whole ? gl.UNSIGNED_BYTE : gl.FLOAT, whole, 0, 0);
    if (item.kind === "lines") gl.vertexAttribDivisor(at, 1);
    if (item.kind !== "mesh") item.count = values.length / 3;
    this.ask();
  }

  reset() {
    const { eye, target, up } = this.start;
    const away = eye.map((value, k) => value - target[k]), axis = up.findIndex((value) => value);
    this.up = up;
    this.east = [0, 1, 2].map((k) => Number(k === (axis + 1) % 3));
    this.north = pcinvCross(up, this.east);
    const length = Math.hypot(...away);
    const wide = this.canvas.clientWidth / this.canvas.clientHeight || 4 / 3;
    this.distance = length * Math.max(1, 4 / 3 / wide); // it was chosen for a picture of 4 by 3
    this.target = [...target];
    this.yaw = Math.atan2(pcinvDot(away, this.north), pcinvDot(away, this.east));
    this.pitch = Math.asin(pcinvDot(away, up) / length);
    this.ask();
  }

  axes() { // to the right, up and backwards
    const [c, s] = [Math.cos(this.pitch), Math.sin(this.pitch)];
    const back = [0, 1, 2].map((k) => c * (Math.cos(this.yaw) * this.east[k]
      + Math.sin(this.yaw) * this.north[k]) + s * this.up[k]);
    const right = [0, 1, 2].map((k) => Math.cos(this.yaw) * this.north[k]
      - Math.sin(this.yaw) * this.east[k]);
    return [right, pcinvCross(back, right), back];
  }

  matrix() { // of OpenGL, column by column; sets the eye and the depths that are drawn
    const axes = this.axes(), back = axes[2];
    this.eye = this.target.map((value, k) => value + this.distance * back[k]);
    const middle = pcinvDot(back, this.eye.map((value, k) => value - this.middle[k]));
    const far = Math.max(middle + 1.05 * this.radius, 2 * this.distance);
    const near = Math.max(middle - 1.05 * this.radius, 0.01 * this.distance, 1e-4 * far);
    this.range = [near, far];
    const tall = 1 / Math.tan(Math.PI / 8), wide = tall * this.canvas.height / this.canvas.width;
    const moved = axes.map((axis) => -pcinvDot(axis, this.eye));
    const whole = [];
    for (let k = 0; k < 4; k++) {
      const [x, y, z] = axes.map((axis, row) => (k < 3 ? axis[k] : moved[row]));
      whole.push(wide * x, tall * y, -(far + near) / (far - near) * z
        - (k === 3 ? 2 * far * near / (far - near) : 0), -z);
    }
    return whole;
  }

  turn(right, down) {
    this.yaw -= 0.006 * right;
    this.pitch = Math.min(1.57, Math.max(-1.57, this.pitch + 0.006 * down));
    this.ask();
  }

  shift(right, down) { // pixels of the page
    const [x, y] = this.axes();
    const step = 2 * this.distance * Math.tan(Math.PI / 8) / this.canvas.clientHeight;
    this.target = this.target.map((value, k) => value + step * (down * y[k] - right * x[k]));
    this.ask();
  }

  turnAbout(place) {
    this.target = [...place];
    this.ask();
  }

  zoom(factor) {
    this.distance = Math.min(20 * this.radius, Math.max(1e-4 * this.radius, this.distance * factor));
    this.ask();
  }

  ask() { // a picture before the next time the browser shows one
    this.asked ||= requestAnimationFrame(() => { this.asked = 0; this.draw(); });
  }

  settle(width, height) {
    const gl = this.gl;
    this.canvas.width = width;
    this.canvas.height = height;
    const make = (texture, how, of, type) => {
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.texImage2D(gl.TEXTURE_2D, 0, how, width, height, 0, of, type, null);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    };
    make(this.image, gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE);
    make(this.depth, gl.DEPTH_COMPONENT24, gl.DEPTH_COMPONENT, gl.UNSIGNED_INT);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.frame);
    for (const [at, texture] of [[gl.COLOR_ATTACHMENT0, this.image], [gl.DEPTH_ATTACHMENT, this.depth]]) {
      gl.framebufferTexture2D(gl.FRAMEBUFFER, at, gl.TEXTURE_2D, texture, 0);
    }
  }

  draw() {
    const gl = this.gl, sharp = window.devicePixelRatio || 1;
    const width = Math.round(sharp * this.canvas.clientWidth);
    const height = Math.round(sharp * this.canvas.clientHeight);
    if (!width || !height) return;
    if (this.canvas.width !== width || this.canvas.height !== height || !this.seen) {
      this.settle(width, height);
    }
    this.whole = this.matrix();
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.frame);
    gl.viewport(0, 0, width, height);
    gl.clearColor(...this.paper, 1);
    gl.enable(gl.DEPTH_TEST);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    const shown = this.items.filter((item) => item.visible && item.count);
    shown.filter((item) => item.kind !== "lines").forEach((item) => this.paint(item, sharp, 1));
    const lines = shown.filter((item) => item.kind === "lines");
    gl.enable(gl.BLEND); // what is behind something shines through
    gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
    gl.depthMask(false);
    gl.depthFunc(gl.GREATER);
    lines.forEach((item) => this.paint(item, sharp, 0.35));
    gl.depthMask(true);
    gl.depthFunc(gl.LESS);
    gl.disable(gl.BLEND);
    lines.forEach((item) => this.paint(item, sharp, 1));
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.disable(gl.DEPTH_TEST);
    const screen = this.programs.screen, of = (name) => gl.getUniformLocation(screen, name);
    gl.useProgram(screen);
    [this.image, this.depth].forEach((texture, k) => {
      gl.activeTexture(gl.TEXTURE0 + k);
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.uniform1i(of(["image", "depth"][k]), k);
    });
    gl.activeTexture(gl.TEXTURE0);
    gl.uniform2f(of("range"), ...this.range);
    gl.uniform3f(of("paper"), ...this.paper);
    gl.uniform1f(of("reach"), 1.5 * sharp);
    gl.bindVertexArray(null);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    this.seen = true;
    this.onDrawn?.();
  }

  paint(item, sharp, opacity) {
    const gl = this.gl, program = this.programs[item.kind];
    const of = (name) => gl.getUniformLocation(program, name);
    gl.useProgram(program);
    gl.uniformMatrix4fv(of("whole"), false, this.whole);
    gl.bindVertexArray(item.vertices);
    if (item.kind === "points") {
      gl.uniform1f(of("size"), (item.size ?? this.size) * sharp);
      gl.drawArrays(gl.POINTS, 0, item.count);
    } else if (item.kind === "mesh") {
      gl.uniform3f(of("eye"), ...this.eye);
      gl.drawElements(gl.TRIANGLES, item.count, gl.UNSIGNED_INT, 0);
    } else {
      gl.uniform2f(of("screen"), this.canvas.width, this.canvas.height);
      gl.uniform1f(of("size"), 1.5 * sharp);
      gl.uniform1f(of("opacity"), opacity);
      gl.drawArraysInstanced(gl.TRIANGLES, 0, 6, item.count);
    }
  }

  // where a place is on the canvas, in pixels of the page, and whether it is in front
  project([x, y, z]) {
    const m = this.whole, depth = m[3] * x + m[7] * y + m[11] * z + m[15];
    return [(0.5 + 0.5 * (m[0] * x + m[4] * y + m[8] * z + m[12]) / depth) * this.canvas.clientWidth,
      (0.5 - 0.5 * (m[1] * x + m[5] * y + m[9] * z + m[13]) / depth) * this.canvas.clientHeight,
      depth > this.range[0]];
  }

  // The point of `places` under the pointer, or null: the foremost of those that touch it, or else
  // the nearest to it.
  pick(places, right, down) {
    const m = this.whole, [wide, tall] = [this.canvas.clientWidth / 2, this.canvas.clientHeight / 2];
    const touch = Math.max(3, this.size / 2 + 1), most = 10;
    let best = null;
    for (let k = 0; k < places.length; k += 3) {
      const x = places[k], y = places[k + 1], z = places[k + 2];
      const depth = m[3] * x + m[7] * y + m[11] * z + m[15];
      if (!(depth > this.range[0])) continue;
      const off = Math.hypot(wide + wide * (m[0] * x + m[4] * y + m[8] * z + m[12]) / depth - right,
        tall - tall * (m[1] * x + m[5] * y + m[9] * z + m[13]) / depth - down);
      if (off > most) continue;
      const found = { point: k / 3, touches: off <= touch, depth, off };
      if (pcinvBefore(found, best)) best = found;
    }
    return best;
  }
}

function pcinvBefore(found, best) {
  if (!found || !best || found.touches !== best.touches) return Boolean(found && (!best || found.touches));
  return found.touches ? found.depth < best.depth : found.off < best.off;
}
function pcinvDot(a, b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }
function pcinvCross(a, b) {
  return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
}
