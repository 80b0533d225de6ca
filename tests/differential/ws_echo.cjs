// SPDX-License-Identifier: BSL-1.0
// An echo server of the npm package ws. usage: node ws_echo.cjs FOLDER     FOLDER is the one with node_modules/ws
"use strict";
const path = require("node:path");
const { WebSocketServer } = require(path.join(path.resolve(process.argv[2]), "node_modules", "ws"));

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, maxPayload: 16 << 20 });
server.on("listening", () => console.log(`listening on ws://127.0.0.1:${server.address().port}`));
server.on("connection", ws => {
  ws.on("message", (data, isBinary) => ws.send(data, { binary: isBinary }));
  ws.on("error", () => {});
});
process.stdin.on("end", () => process.exit(0)).resume();
