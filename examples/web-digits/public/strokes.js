/**
 * How each digit is commonly drawn: what the page's example buttons draw, and what the tests do.
 * A stroke is a list of points [x, y], with x to the right and y downwards.
 */

/** A piece of an ellipse; angles in degrees, 0 to the right, 90 downwards. */
function arc(x, y, width, height, from, to) {
  return Array.from({ length: 25 }, (_, step) => {
    const angle = ((from + ((to - from) * step) / 24) * Math.PI) / 180;
    return [x + (width / 2) * Math.cos(angle), y + (height / 2) * Math.sin(angle)];
  });
}

/** @type {[number, number][][][]} the strokes of the digits 0 to 9, about 60 wide and 100 high */
export const DIGITS = [
  [arc(30, 50, 60, 100, -90, 270)],
  [[[10, 25], [35, 0], [35, 100]]],
  [[...arc(30, 28, 56, 56, -160, 20), [45, 55], [0, 100], [60, 100]]],
  [[...arc(28, 25, 54, 50, -150, 90), ...arc(28, 74, 62, 52, -90, 150)]],
  [[[40, 0], [0, 62], [62, 62]], [[45, 35], [45, 100]]],
  [[[55, 0], [10, 0], [6, 42], ...arc(27, 68, 60, 62, -130, 140)]],
  [[[45, 0], [20, 25], ...arc(30, 70, 56, 60, -180, 180)]],
  [[[0, 0], [58, 0], [20, 100]], [[12, 50], [54, 50]]],
  [[...arc(30, 25, 46, 50, 90, 450), ...arc(30, 75, 58, 50, -90, 270)]],
  [[...arc(30, 28, 54, 56, 0, -360), [55, 60], [45, 100]]],
];
