/** The door: which request gets which answer, and which error which status. Knows no store. */
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';

import { BadField, parsePicture } from './picture.mjs';
import { StoreAway } from './reader.mjs';

const BODY_LIMIT = 16 * 1024; // bytes; a picture is less than 2,000
const TYPES = { html: 'text/html', css: 'text/css', js: 'text/javascript', svg: 'image/svg+xml' };
const PAGES = ['index.html', 'style.css', 'page.js', 'raster.js', 'strokes.js', 'icon.svg'];
const HEADERS = {
  'Content-Security-Policy': "default-src 'self'; frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
};

/** A request that is refused, with its status and what the answer says beside the text. */
class Refusal extends Error {
  constructor(status, message, details = {}, headers = {}) {
    super(message);
    Object.assign(this, { status, details, headers });
  }
}

/**
 * The web server, not listening yet.
 * @param {import('./reader.mjs').Reader} reader
 * @param {(line: string) => void} log is told of errors that nobody foresaw
 * @returns {import('node:http').Server}
 */
export function createWeb(reader, log) {
  const routes = {
    '/api/read': { POST: (request) => readDigit(reader, request) },
    '/health': { GET: () => health(reader) },
  };
  for (const name of PAGES) {
    const type = `${TYPES[name.split('.')[1]]}; charset=utf-8`;
    const body = readFileSync(new URL(`public/${name}`, import.meta.url));
    const page = {
      status: 200,
      headers: { 'Content-Type': type, 'Cache-Control': 'no-cache' },
      body,
    };
    routes[name === 'index.html' ? '/' : `/${name}`] = { GET: () => page };
  }
  return createServer(async (request, response) => {
    let answer;
    try {
      answer = await chosen(routes, request)(request);
    } catch (error) {
      if (request.destroyed && !request.complete) return; // nobody is there to be answered
      answer = refused(error, log);
    }
    const { status, headers, body } = answer;
    response.writeHead(status, { ...HEADERS, ...headers, 'Content-Length': body.length });
    response.end(request.method === 'HEAD' ? undefined : body);
  });
}

/** What answers a request, by its path and method. */
function chosen(routes, request) {
  const [path] = request.url.split('?');
  const methods = Object.hasOwn(routes, path) ? routes[path] : null;
  if (!methods) throw new Refusal(404, `there is nothing at ${path}`);
  const answer = methods[request.method === 'HEAD' ? 'GET' : request.method];
  if (answer) return answer;
  const allowed = Object.keys(methods).join(', ');
  throw new Refusal(405, `${path} takes ${allowed}, not ${request.method}`, {}, { Allow: allowed });
}

async function readDigit(reader, request) {
  const type = request.headers['content-type'] ?? '';
  if (!/^application\/json\s*(;|$)/i.test(type)) {
    throw new Refusal(415, 'Content-Type must be application/json', { field: 'Content-Type' });
  }
  const picture = parsePicture(await bodyOf(request));
  const began = performance.now();
  const answer = await reader.read(picture);
  return json(200, {
    ...answer,
    milliseconds: Math.round((performance.now() - began) * 100) / 100,
  });
}

async function health(reader) {
  await reader.check();
  return json(200, { status: 'ok' });
}

/** Reads a request's body, if it is not too long. */
async function bodyOf(request) {
  const parts = [];
  let length = 0;
  for await (const part of request.iterator({ destroyOnReturn: false })) {
    length += part.length;
    if (length > BODY_LIMIT) {
      request.resume(); // reads the rest away: who still sends would not see the answer
      throw new Refusal(413, `the body must not be longer than ${BODY_LIMIT} bytes`, {
        field: 'body',
      });
    }
    parts.push(part);
  }
  return Buffer.concat(parts).toString();
}

/** The answer to a request that failed. */
function refused(error, log) {
  if (error instanceof BadField) return json(400, { error: error.message, field: error.field });
  if (error instanceof Refusal) {
    return json(error.status, { error: error.message, ...error.details }, error.headers);
  }
  if (error instanceof StoreAway)
    return json(503, { error: error.message }, { 'Retry-After': '1' });
  log(`unforeseen: ${error.stack}`);
  return json(500, { error: 'the picture could not be read; the log says why' });
}

function json(status, value, headers = {}) {
  const body = Buffer.from(`${JSON.stringify(value)}\n`);
  return {
    status,
    headers: { 'Content-Type': 'application/json', 'Cache-Control': 'no-store', ...headers },
    body,
  };
}
