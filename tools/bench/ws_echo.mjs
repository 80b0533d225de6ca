// SPDX-License-Identifier: BSL-1.0
// Peer: WebSocket echo on the npm package ws, for Node.js: no compression, no limit on a message's size.
//
// usage: node ws_echo.mjs FOLDER [--bind HOST:PORT] [--mode echo|broadcast]; FOLDER is the one with node_modules
import { createRequire } from "node:module";
import path from "node:path";

const [folder, ...rest] = process.argv.slice(2);
const options = { "--bind": "127.0.0.1:0", "--mode": "echo" };
for (let i = 0; i < rest.length; i += 2) {
  if (!(rest[i] in options) || rest[i + 1] === undefined) {
    console.error(`ws_echo: unknown option ${rest[i]}`);
    process.exit(2);
  }
  options[rest[i]] = rest[i + 1];
}
const colon = options["--bind"].lastIndexOf(":");
const host = options["--bind"].slice(0, colon).replace(/^\[(.*)\]$/, "$1"), port = +options["--bind"].slice(colon + 1);

const { WebSocketServer } = createRequire(path.join(path.resolve(folder), "node_modules", "ws", "package.json"))("ws");
const server = new WebSocketServer({ host, port, backlog: 4096, perMessageDeflate: false, maxPayload: 0 });
const broadcast = options["--mode"] === "broadcast";
server.on("connection", ws => {
  ws.on("error", () => {}); // a reset at the end of a run
  ws.on("message", (data, isBinary) => {
    if (!broadcast) ws.send(data, { binary: isBinary });
    else for (const member of server.clients) member.send(data, { binary: isBinary });
  });
});
server.on("listening", () => console.log(`listening on ws://${options["--bind"].slice(0, colon)}:${server.address().port}`));
process.on("SIGTERM", () => process.exit(0));
