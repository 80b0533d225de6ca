// SPDX-License-Identifier: BSL-1.0
// Peer: the npm package ws.
"use strict";
const { load, main } = require("./lines.cjs");
const { textOf, bytesOf } = require("./whatwg.js");

main({
  version: () => console.log("ws " + load("ws/package.json").version),
  serve() {
    const server = new (load("ws").Server)({ host: "127.0.0.1", port: 0, perMessageDeflate: { threshold: 0 } });
    server.on("connection", ws => ws.on("message", (data, binary) => {
      if (data.toString() === "close, please") ws.close(4001, "as asked");
      else ws.send(data, { binary });
    }));
    server.on("listening", () => console.log("listening on " + server.address().port));
  },
  async connect(url, words) {
    const WebSocket = load("ws");
    const ws = new WebSocket(url, { perMessageDeflate: words.includes("deflate") && { threshold: 0 } });
    const events = [];
    let waiting = () => {};
    const happened = event => { events.push(event); waiting(); };
    const next = async () => {
      while (!events.length) await new Promise(done => waiting = done);
      return events.shift();
    };
    ws.on("open", () => happened({}));
    ws.on("message", (data, binary) => happened({ data, binary }));
    ws.on("close", (code, reason) => happened({ closed: `${code} '${reason}'` }));
    ws.on("error", error => happened({ closed: String(error) }));
    const { closed: refused } = await next();
    if (refused) return `not ok: no connection: ${refused}`;
    for (const word of words) {
      const [kind, size] = word.split(":");
      if (size === undefined) continue;
      const binary = kind.toLowerCase() === "b", message = Buffer.from(binary ? bytesOf(+size) : textOf(+size));
      const third = Math.floor(message.length / 3);
      const cut = (from, to) => message.subarray(from, to);
      const parts = kind === kind.toLowerCase() ? [message]
        : [cut(0, third), cut(0, 0), cut(third, 2 * third), cut(2 * third)];
      parts.forEach((part, at) => ws.send(part, { binary, fin: at === parts.length - 1 }));
      const got = await next();
      if (!got.data || got.binary !== binary || !message.equals(got.data))
        return `not ok: ${word} came back different${got.closed ? ": closed with " + got.closed : ""}`;
    }
    const ending = words.at(-1);
    if (ending === "close") ws.close(1000, "bye");
    if (ending === "asked") ws.send("close, please");
    if (ending === "left") console.log("waiting");
    const { closed } = await next();
    const wanted = { close: ["1000 'bye'", "1000 ''"], asked: ["4001 'as asked'"], left: ["1001 ''"] }[ending];
    return wanted.includes(closed) ? "ok" : `not ok: closed with ${closed}`;
  },
});
