// SPDX-License-Identifier: BSL-1.0
// The npm package ws as a peer: does what JSON lines on standard input say, answers each with a line on standard output.
// usage: node peer.cjs FOLDER     FOLDER is the one with node_modules/ws
"use strict";
const fs = require("node:fs");
const http = require("node:http");
const https = require("node:https");
const path = require("node:path");
const readline = require("node:readline");
const WebSocket = require(path.join(path.resolve(process.argv[2]), "node_modules", "ws"));

const connections = new Map(), servers = new Map();
let last = 0;

const answer = (id, result) => process.stdout.write(JSON.stringify({ id, ...result }) + "\n");

// A queue whose take() waits.
class Queue {
  items = [];
  takers = [];
  put(item) { this.takers.length ? this.takers.shift()(item) : this.items.push(item); }
  take() { return this.items.length ? Promise.resolve(this.items.shift()) : new Promise(done => this.takers.push(done)); }
}

function adopt(ws) {
  const connection = { ws, events: new Queue(), pings: new Queue(), pongs: new Queue(), closed: null };
  const key = ++last;
  connections.set(key, connection);
  ws.on("message", (data, isBinary) => connection.events.put(
    isBinary ? { binary: data.toString("base64") } : { text: data.toString("utf8") }));
  ws.on("ping", data => connection.pings.put({ data: data.toString("base64") }));
  ws.on("pong", data => connection.pongs.put({ data: data.toString("base64") }));
  connection.closed = new Promise(done => ws.on("close", (code, reason) => {
    const event = { closed: { code, reason: reason.toString("utf8") } };
    for (const queue of [connection.events, connection.pings, connection.pongs]) queue.put(event);
    done(event);
  }));
  ws.on("error", () => {});         // a close event follows
  return key;
}

// null: what ws does by itself.
const compression = deflate => deflate === null || deflate === undefined ? {} : { perMessageDeflate: deflate };
const bytes = part => part.binary !== undefined ? Buffer.from(part.binary, "base64") : part.text;
const sent = (ws, data, options) => new Promise((done, failed) =>
  ws.send(data, options, error => error ? failed(error) : done()));

const operations = {
  connect({ url, protocols, headers, origin, deflate, ca }) {
    return new Promise((done, failed) => {
      const ws = new WebSocket(url, protocols, {
        headers, origin, followRedirects: false, ca: ca ? fs.readFileSync(ca) : undefined, ...compression(deflate),
      });
      const connection = adopt(ws);     // from the start: what comes right after the 101 must not be missed
      let refused = null;
      ws.on("unexpected-response", (request, response) => {
        refused = { refused: response.statusCode };
        response.resume();
        request.destroy();
        done(refused);
      });
      ws.on("open", () => done({ connection, protocol: ws.protocol, extensions: ws.extensions }));
      ws.on("error", error => { if (!refused) failed(error); });
    });
  },
  // Parts are the frames of one message; `ping` sends one between them.
  async send({ connection, parts, ping }) {
    const { ws, pongs } = connections.get(connection);
    for (const [at, part] of parts.entries()) {
      await sent(ws, bytes(part), { binary: part.binary !== undefined && !part.as_text, fin: at === parts.length - 1 });
      if (ping && at < parts.length - 1) ws.ping(Buffer.from("between"));
    }
    return ping ? pongs.take() : {};        // one pong may answer several pings
  },
  async ping({ connection, data }) {
    const { ws, pongs } = connections.get(connection);
    ws.ping(Buffer.from(data, "base64"));
    return pongs.take();
  },
  pinged: ({ connection }) => connections.get(connection).pings.take(),
  receive: ({ connection }) => connections.get(connection).events.take(),
  close({ connection, code, reason }) {
    const { ws, closed } = connections.get(connection);
    ws.close(code, reason);
    return closed;
  },
  terminate({ connection }) { connections.get(connection).ws.terminate(); return {}; },
  pause({ connection }) { connections.get(connection).ws.pause(); return {}; },
  serve({ unix, pick, refuse, deflate, tls }) {
    return new Promise((done, failed) => {
      const plainly = (request, response) => { response.writeHead(426); response.end(); };
      const web = tls ? https.createServer({ cert: fs.readFileSync(tls.cert), key: fs.readFileSync(tls.key) }, plainly)
        : http.createServer(plainly);
      const sockets = new WebSocket.Server({
        server: web,
        ...compression(deflate),
        handleProtocols: pick === null ? () => false : () => pick,
        verifyClient: refuse ? (info, say) => say(false, refuse, http.STATUS_CODES[refuse]) : undefined,
      });
      const accepted = new Queue();
      sockets.on("connection", (ws, request) => accepted.put({
        connection: adopt(ws), path: request.url, headers: request.headers, protocol: ws.protocol, extensions: ws.extensions,
      }));
      web.on("error", failed);
      const key = ++last;
      servers.set(key, { web, sockets, accepted });
      const ready = () => done({ server: key, port: unix ? null : web.address().port });
      unix ? web.listen(unix, ready) : web.listen(0, "127.0.0.1", ready);
    });
  },
  accept: ({ server }) => servers.get(server).accepted.take(),
  stop({ server }) {
    const { web, sockets } = servers.get(server);
    for (const ws of sockets.clients) ws.terminate();
    sockets.close();
    web.closeAllConnections();
    return new Promise(done => web.close(() => done({})));
  },
};

readline.createInterface({ input: process.stdin }).on("line", async line => {
  const { id, operation, ...details } = JSON.parse(line);
  try {
    answer(id, await operations[operation](details));
  } catch (error) {
    answer(id, { error: String(error && error.stack || error) });
  }
}).on("close", () => process.exit(0));
