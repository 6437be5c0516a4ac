/**
 * Turns what was drawn into a picture like those that the network was trained with.
 *
 * Those were written on paper, cut out, brought to a fixed height, and counted: a picture of
 * 32 x 32 black and white dots became one of 8 x 8 numbers, 0 to 16, of the dots in each square.
 * All of them fill the height, and have about the same amount of ink. So what was drawn is put in
 * the middle at full height, and drawn again with a pen as wide as that amount of ink takes.
 *
 * Runs in the page, and in tests.
 */

const DOTS = 32;
const CELLS = 8;
const INK = 320; // dots, of 1024: about what the pictures of every digit have
const WIDEST = 20; // dots, the pen included
const PENS = [1.2, 5]; // half of the narrowest and the widest pen, in dots

/**
 * @typedef {[number, number]} Point x to the right, y downwards, in any unit
 * @typedef {Point[]} Stroke what the pen drew without being lifted
 */

/**
 * @param {Stroke[]} strokes
 * @returns {number[] | null} 64 integers from 0 (paper) to 16 (ink), row by row; null if nothing
 *   was drawn
 */
export function rasterise(strokes) {
  const points = strokes.flat();
  if (points.length === 0) return null;
  let [narrow, wide] = PENS;
  let dots;
  for (let step = 0; step < 8; step += 1) {
    const pen = (narrow + wide) / 2;
    dots = drawn(fitted(strokes, points, pen), pen);
    if (dots.reduce((sum, dot) => sum + dot, 0) < INK) narrow = pen;
    else wide = pen;
  }
  return counted(dots);
}

/** Moves and scales strokes so that they fill the height and stand in the middle. */
function fitted(strokes, points, pen) {
  const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
  const [left, right, top, bottom] = [
    Math.min(...xs),
    Math.max(...xs),
    Math.min(...ys),
    Math.max(...ys),
  ];
  const room = DOTS - 2 * pen;
  // A flat line would be blown up without end; what is wider than high is not stretched upwards.
  const scale = room / Math.max(bottom - top, (right - left) / 2, 1e-6);
  const squeezed = Math.min(1, (WIDEST - 2 * pen) / ((right - left) * scale || 1));
  const [x0, y0] = [(left + right) / 2, (top + bottom) / 2];
  return strokes.map((stroke) =>
    stroke.map(([x, y]) => [DOTS / 2 + (x - x0) * scale * squeezed, DOTS / 2 + (y - y0) * scale]),
  );
}

/** Draws with a round pen of this radius; 1 where there is ink. */
function drawn(strokes, pen) {
  const dots = new Uint8Array(DOTS * DOTS);
  for (const stroke of strokes) {
    stroke.forEach((end, number) => {
      const start = stroke[Math.max(0, number - 1)];
      const range = (axis) => [
        Math.max(0, Math.floor(Math.min(start[axis], end[axis]) - pen)),
        Math.min(DOTS - 1, Math.ceil(Math.max(start[axis], end[axis]) + pen)),
      ];
      const [[x0, x1], [y0, y1]] = [range(0), range(1)];
      for (let y = y0; y <= y1; y += 1) {
        for (let x = x0; x <= x1; x += 1) {
          if (distance([x + 0.5, y + 0.5], start, end) <= pen) dots[y * DOTS + x] = 1;
        }
      }
    });
  }
  return dots;
}

/** From a point to the nearest one of the line between two others. */
function distance([x, y], [x0, y0], [x1, y1]) {
  const [dx, dy] = [x1 - x0, y1 - y0];
  const along = ((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy || 1);
  const place = Math.min(1, Math.max(0, along));
  return Math.hypot(x - x0 - place * dx, y - y0 - place * dy);
}

/** Counts the ink in each square of 4 x 4 dots. */
function counted(dots) {
  const cells = new Array(CELLS * CELLS).fill(0);
  const side = DOTS / CELLS;
  dots.forEach((dot, number) => {
    const [x, y] = [number % DOTS, Math.floor(number / DOTS)];
    cells[Math.floor(y / side) * CELLS + Math.floor(x / side)] += dot;
  });
  return cells;
}
