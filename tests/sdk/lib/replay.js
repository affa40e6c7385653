'use strict';
// Sends the requests of recorded.json byte for byte, to their own endpoints and to /sample/raw, which shows that
// the target, the body and every field that is nobody's but the caller's and the API's arrived unchanged.

const net = require('net');
const path = require('path');
const { step, equal } = require('./check');

const { requests } = require(path.join('..', 'recorded.json'));
// Fields that a gateway may take, add to or replace.
const OURS = new Set(['authorization', 'host', 'connection', 'content-length', 'transfer-encoding']);

/** Runs all of it against one region. */
async function run({ base, token, region }) {
  const list = await send(base, { method: 'GET', target: '/sources', headers: [['host', '{host}'], ['authorization', 'Bearer {token}']] }, { token });
  const names = { token, source: JSON.parse(list.body).data.sources[0].id };
  for (const request of requests) {
    await step(`${region} ${request.name}`, async () => {
      const answer = await send(base, request, names);
      equal([answer.status, answer.headers['x-sample-region']], [request.status, region], `answer ${answer.body.slice(0, 200)}`);
      const body = JSON.parse(answer.body);
      if (request.page) equal(Object.values(body.data).find(Array.isArray).length, request.page, 'page');
      if (request.message) equal(body.errors[0].message, request.message, 'message');
    });
    await step(`${region} ${request.name}, shown raw`, async () => {
      const target = request.target.startsWith('/sample/raw') ? request.target : `/sample/raw${request.target}`;
      const answer = await send(base, { ...request, target }, names);
      const shown = JSON.parse(answer.body);
      equal([shown.method, shown.target], [request.method, target.replace('{source}', names.source)], 'request line');
      equal(shown.body, request.body || '', 'body');
      const theirs = request.headers.filter(([name]) => !OURS.has(name.toLowerCase()));
      for (const [name, value] of theirs) {
        const values = shown.headers.filter(([other]) => other.toLowerCase() === name.toLowerCase()).map(([, v]) => v);
        equal(values, [value], name);
      }
    });
  }
}

/** One request on a connection of its own. */
function send(base, { method, target, headers, body = '' }, names) {
  const { hostname, port, host } = new URL(base);
  const fill = (text) => text.replace('{host}', host).replace('{token}', names.token || 'none').replace('{source}', names.source);
  const lines = headers.map(([name, value]) => `${name}: ${fill(value)}`);
  if (body && !headers.some(([name]) => name.toLowerCase() === 'content-length')) lines.push(`Content-Length: ${Buffer.byteLength(body)}`);
  const bytes = Buffer.from(`${method} ${fill(target)} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n${body}`);
  return new Promise((resolve, reject) => {
    const socket = net.connect(Number(port) || 80, hostname, () => socket.write(bytes));
    let received = Buffer.alloc(0);
    socket.setTimeout(10000, () => socket.destroy(new Error('no answer within 10 seconds')));
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('closed without an answer')));
    socket.on('data', (data) => {
      received = Buffer.concat([received, data]);
      const answer = parse(received);
      if (answer) {
        socket.removeAllListeners('close');
        socket.destroy();
        resolve(answer);
      }
    });
  });
}

/** A complete answer, or undefined while bytes are missing. */
function parse(bytes) {
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const [first, ...lines] = bytes.subarray(0, end).toString('latin1').split('\r\n');
  const headers = Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]));
  let body = bytes.subarray(end + 4);
  if (/chunked/i.test(headers['transfer-encoding'] || '')) {
    body = dechunk(body);
    if (!body) return undefined;
  } else if (body.length < Number(headers['content-length'] || 0)) return undefined;
  return { status: Number(first.split(' ')[1]), headers, body: body.toString('utf8') };
}

function dechunk(bytes) {
  const parts = [];
  for (let at = 0; ;) {
    const line = bytes.indexOf('\r\n', at);
    if (line < 0) return undefined;
    const size = parseInt(bytes.subarray(at, line).toString('latin1'), 16);
    if (size === 0) return Buffer.concat(parts);
    if (bytes.length < line + 2 + size + 2) return undefined;
    parts.push(bytes.subarray(line + 2, line + 2 + size));
    at = line + 2 + size + 2;
  }
}

module.exports = { run, send };
