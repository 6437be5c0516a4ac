/** What a request says, checked, and made into the network's input. Knows no HTTP and no store. */

const PIXELS = 64;
const INK = 16; // the largest grey value in the pictures that the network was trained with

/** What is wrong with a request, and in which of its fields. */
export class BadField extends Error {
  /**
   * @param {string} field
   * @param {string} message
   */
  constructor(field, message) {
    super(message);
    this.field = field;
  }
}

/**
 * The picture in a request's body, as the network takes it.
 * @param {string} body JSON such as `{"pixels": [0, 16, …]}`: 64 numbers from 0 (paper) to 16
 *   (ink), row by row
 * @returns {Float32Array} the pixels from 0 to 1
 * @throws {BadField} naming the field and what was expected
 */
export function parsePicture(body) {
  let request;
  try {
    request = JSON.parse(body);
  } catch (error) {
    throw new BadField('body', `the body must be JSON: ${error.message}`);
  }
  if (typeof request !== 'object' || request === null || Array.isArray(request)) {
    throw new BadField('body', 'the body must be an object with the field pixels');
  }
  const { pixels, ...others } = request;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw new BadField(unknown, `${unknown} is not a field of a request`);
  if (!Array.isArray(pixels)) {
    throw new BadField('pixels', `pixels must be a list of ${PIXELS} numbers`);
  }
  if (pixels.length !== PIXELS) {
    throw new BadField('pixels', `pixels must be ${PIXELS} numbers, not ${pixels.length}`);
  }
  return Float32Array.from(pixels, (grey, number) => {
    if (typeof grey !== 'number' || !(grey >= 0 && grey <= INK)) {
      throw new BadField(
        `pixels[${number}]`,
        `pixels[${number}] must be a number from 0 to ${INK}, not ${JSON.stringify(grey)}`,
      );
    }
    return grey / INK;
  });
}
