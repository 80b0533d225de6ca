// SPDX-License-Identifier: BSL-1.0
// Peer: the npm package websocket. It has no permessage-deflate.
"use strict";
const http = require("node:http");
const { load, main } = require("./lines.cjs");
const { textOf, bytesOf, sameBytes } = require("./whatwg.js");

const limits = { maxReceivedFrameSize: 4 << 20, maxReceivedMessageSize: 4 << 20 };

const dial = (url, fragmentationThreshold) => new Promise((done, failed) => {
  const { client: Client } = load("websocket");
  const fragmentOutgoingMessages = fragmentationThreshold > 0;
  const client = new Client({ ...limits, fragmentOutgoingMessages, fragmentationThreshold });
  client.on("connect", done);
  client.on("connectFailed", failed);
  client.connect(url);
});

main({
  version: () => console.log("websocket " + load("websocket/package.json").version),
  serve() {
    const { server: Server } = load("websocket");
    const web = http.createServer((request, response) => { response.writeHead(426); response.end(); });
    const server = new Server({ httpServer: web, autoAcceptConnections: false, fragmentationThreshold: 100_000, ...limits });
    server.on("request", request => {
      const connection = request.accept(null, request.origin);
      connection.on("message", message => {
        if (message.utf8Data === "close, please") connection.close(4001, "as asked");
        else if (message.type === "utf8") connection.sendUTF(message.utf8Data);
        else connection.sendBytes(message.binaryData);
      });
    });
    web.listen(0, "127.0.0.1", () => console.log("listening on " + web.address().port));
  },
  async connect(url, words) {
    if (words.includes("deflate")) return "cannot: it has no permessage-deflate";
    const pieces = words.filter(word => /^[TB]:/.test(word)).map(word => +word.slice(2));
    const connection = await dial(url, pieces.length ? Math.ceil(Math.min(...pieces) / 3) : 0);
    const events = [];
    let waiting = () => {};
    const happened = event => { events.push(event); waiting(); };
    const next = async () => {
      while (!events.length) await new Promise(done => waiting = done);
      return events.shift();
    };
    connection.on("message", happened);
    connection.on("close", (code, reason) => happened({ closed: `${code} '${reason}'` }));
    for (const word of words) {
      const [kind, size] = word.split(":");
      if (size === undefined) continue;
      const text = kind.toLowerCase() === "t", message = text ? textOf(+size) : Buffer.from(bytesOf(+size));
      text ? connection.sendUTF(message) : connection.sendBytes(message);
      const got = await next();
      if (!(text ? got.utf8Data === message : got.binaryData && sameBytes(got.binaryData, message)))
        return `not ok: ${word} came back different${got.closed ? ": closed with " + got.closed : ""}`;
    }
    const ending = words.at(-1);
    if (ending === "close") connection.close(1000, "bye");
    if (ending === "asked") connection.sendUTF("close, please");
    if (ending === "left") console.log("waiting");
    const { closed } = await next();
    // After a close of its own it tells the code that it sent, whatever the answer was (outside.py sees that on the
    // wire), and where the peer gave no reason it has one of its own.
    const wanted = { close: "1000 'bye'", asked: "4001 'as asked'", left: "1001 'Remote peer is going away'" }[ending];
    return closed === wanted ? "ok" : `not ok: closed with ${closed}`;
  },
});
