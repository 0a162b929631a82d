// The programs of the graphics card. Depth edges are darkened, which is what makes bare points
// readable (eye-dome lighting: Boucheny 2009).
"use strict";
const PCINV_SHADERS = {
  points: [`#version 300 es
    in vec3 place; in vec3 color; uniform mat4 whole; uniform float size; out vec3 shade;
    void main() { gl_Position = whole * vec4(place, 1.0); gl_PointSize = size; shade = color; }`,
  `#version 300 es
    precision highp float; in vec3 shade; uniform float size; out vec4 pixel;
    void main() {
      vec2 from = 2.0 * gl_PointCoord - 1.0;
      if (size > 2.5 && dot(from, from) > 1.0) discard;
      pixel = vec4(shade, 1.0);
    }`],
  mesh: [`#version 300 es
    in vec3 place; in vec3 color; uniform mat4 whole; uniform vec3 eye; out vec3 shade; out vec3 ray;
    void main() { gl_Position = whole * vec4(place, 1.0); shade = color; ray = place - eye; }`,
  `#version 300 es
    precision highp float; in vec3 shade; in vec3 ray; out vec4 pixel;
    void main() {
      vec3 across = normalize(cross(dFdx(ray), dFdy(ray)));
      pixel = vec4(shade * (0.35 + 0.65 * abs(dot(across, normalize(ray)))), 1.0);
    }`],
  lines: [`#version 300 es
    in vec3 start; in vec3 end; in vec3 color; uniform mat4 whole; uniform vec2 screen;
    uniform float size; out vec3 shade;
    void main() { // two triangles for each line, as wide as asked for
      vec4 a = whole * vec4(start, 1.0), b = whole * vec4(end, 1.0);
      if (a.w < 1e-6 * b.w) a = mix(b, a, 0.999 * b.w / (b.w - a.w)); // ends behind the eye
      if (b.w < 1e-6 * a.w) b = mix(a, b, 0.999 * a.w / (a.w - b.w));
      vec2 along = normalize((b.xy / b.w - a.xy / a.w) * screen + 1e-9);
      int corner = gl_VertexID % 6;
      vec4 at = corner == 0 || corner == 1 || corner == 3 ? a : b;
      float side = corner == 0 || corner == 2 || corner == 4 ? -1.0 : 1.0;
      at.xy += side * size * vec2(-along.y, along.x) / screen * at.w;
      gl_Position = at; shade = color;
    }`,
  `#version 300 es
    precision highp float; in vec3 shade; uniform float opacity; out vec4 pixel;
    void main() { pixel = vec4(shade, opacity); }`],
  screen: [`#version 300 es
    void main() { // one triangle that covers the screen
      gl_Position = vec4(4 * (gl_VertexID & 1) - 1, 4 * (gl_VertexID >> 1) - 1, 0, 1); }`,
  `#version 300 es
    precision highp float; uniform sampler2D image, depth; uniform vec2 range; uniform vec3 paper;
    uniform float reach; out vec4 pixel;
    float far(ivec2 at) { // logarithm of the depth
      float d = texelFetch(depth, clamp(at, ivec2(0), textureSize(depth, 0) - 1), 0).r;
      return d >= 1.0 ? 1e9 : log2(range.x * range.y / (range.y - d * (range.y - range.x)));
    }
    void main() {
      ivec2 at = ivec2(gl_FragCoord.xy); float here = far(at), nearer = 0.0;
      if (here > 1e8) { pixel = vec4(paper, 1.0); return; }
      for (int k = 0; k < 8; k++) {
        float turn = 0.7853982 * float(k);
        nearer += clamp(here - far(at + ivec2(round(reach * vec2(cos(turn), sin(turn))))), 0.0, 0.2);
      }
      pixel = vec4(texelFetch(image, at, 0).rgb * exp(-0.8 * nearer), 1.0);
    }`],
};
