/** The page: paper that is drawn on, and the answer to what is on it. */
import { rasterise } from './raster.js';
import { DIGITS } from './strokes.js';

const PEN = 0.05; // of the paper's side
const AGAIN = 1500; // milliseconds until a store that was away is asked again

const element = (id) => document.getElementById(id);
const paper = element('paper');
const seen = element('seen');

/** @type {import('./raster.js').Stroke[]} in parts of the paper's side */
let strokes = [];
let drawing = false;
let asking = false; // one request at a time, so that answers cannot overtake each other
let stale = false; // something was drawn since
let timer;

// ------------------------------------------------------------------ the paper
function redraw() {
  const side = Math.round(paper.clientWidth * devicePixelRatio);
  if (paper.width !== side) paper.width = paper.height = side;
  const pen = paper.getContext('2d');
  pen.clearRect(0, 0, side, side);
  pen.lineWidth = PEN * side;
  pen.lineCap = pen.lineJoin = 'round';
  pen.strokeStyle = getComputedStyle(paper).color;
  for (const [first, ...others] of strokes) {
    pen.beginPath();
    pen.moveTo(first[0] * side, first[1] * side);
    for (const [x, y] of others.length ? others : [first]) pen.lineTo(x * side, y * side);
    pen.stroke();
  }
  element('undo').disabled = element('clear').disabled = strokes.length === 0;
}

function draw(event) {
  const { left, top, width } = paper.getBoundingClientRect();
  const events = event.getCoalescedEvents?.() ?? [];
  for (const { clientX, clientY } of events.length ? events : [event]) {
    strokes.at(-1).push([(clientX - left) / width, (clientY - top) / width]);
  }
  redraw();
}

/** Puts other strokes on the paper. */
function replace(others) {
  strokes = others;
  redraw();
  ask();
}

paper.addEventListener('pointerdown', (event) => {
  if (!event.isPrimary || event.button !== 0) return;
  paper.setPointerCapture(event.pointerId);
  drawing = true;
  strokes.push([]);
  draw(event);
});
paper.addEventListener('pointermove', (event) => {
  if (drawing && event.isPrimary) draw(event);
});
for (const end of ['pointerup', 'pointercancel']) {
  paper.addEventListener(end, () => {
    if (drawing) ask();
    drawing = false;
  });
}
element('undo').addEventListener('click', () => replace(strokes.slice(0, -1)));
element('clear').addEventListener('click', () => replace([]));
addEventListener('resize', redraw);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  redraw();
  show();
});

DIGITS.forEach((example, digit) => {
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = digit;
  button.setAttribute('aria-label', `Draw a ${digit}`);
  button.addEventListener('click', () =>
    replace(example.map((stroke) => stroke.map(([x, y]) => [0.32 + x * 0.006, 0.2 + y * 0.006]))),
  );
  element('examples').append(button);
});

// ------------------------------------------------------------------ the answer
const rows = DIGITS.map((_, digit) => {
  const row = element('probabilities').insertRow();
  const head = document.createElement('th');
  head.scope = 'row';
  head.textContent = digit;
  const bar = document.createElement('div');
  const frame = document.createElement('div');
  frame.className = 'bar';
  frame.append(bar);
  row.append(head);
  row.insertCell().append(frame);
  const percent = row.insertCell();
  percent.textContent = '–';
  return { row, bar, percent };
});

/** Asks what is on the paper; what is drawn meanwhile is asked afterwards. */
async function ask() {
  clearTimeout(timer);
  if (asking) {
    stale = true;
    return;
  }
  asking = true;
  do {
    stale = false;
    const pixels = rasterise(strokes);
    show(pixels, pixels && (await answerTo(pixels)));
  } while (stale);
  asking = false;
}

/** The server's answer, or an object with `error` and whether it is worth another try. */
async function answerTo(pixels) {
  try {
    const response = await fetch('api/read', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ pixels }),
    });
    return { ...(await response.json()), again: response.status === 503 };
  } catch {
    return { error: 'the web server does not answer', again: true };
  }
}

let shown = [null, null];

/** Shows a picture as the network sees it, and what came back. */
function show(pixels = shown[0], answer = shown[1]) {
  shown = [pixels, answer];
  const ink = seen.getContext('2d');
  ink.clearRect(0, 0, 8, 8);
  ink.fillStyle = getComputedStyle(seen).color;
  (pixels ?? []).forEach((grey, number) => {
    ink.globalAlpha = grey / 16;
    ink.fillRect(number % 8, Math.floor(number / 8), 1, 1);
  });
  const { digit, probabilities, error } = answer ?? {};
  element('digit').textContent = digit ?? '?';
  rows.forEach(({ row, bar, percent }, number) => {
    const chance = probabilities?.[number];
    bar.style.width = `${(chance ?? 0) * 100}%`;
    percent.textContent = chance === undefined ? '–' : inWords(chance);
    row.classList.toggle('likely', number === digit);
  });
  element('words').textContent = told(answer);
  if (error && answer.again) timer = setTimeout(ask, AGAIN);
}

/** The answer as a sentence. */
function told(answer) {
  if (!answer) return 'Nothing is drawn yet.';
  const { digit, probabilities, error, again } = answer;
  if (error) return `No answer: ${error}.${again ? ' Trying again…' : ''}`;
  return `That is ${digit === 8 ? 'an' : 'a'} ${digit} (${inWords(probabilities[digit])}).`;
}

const inWords = (chance) => `${(chance * 100).toFixed(1)} %`;

redraw();
