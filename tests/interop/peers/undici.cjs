// SPDX-License-Identifier: BSL-1.0
// Peer: the npm package undici, which is also the WebSocket of Node.js itself. A client only.
"use strict";
const { load, main } = require("./lines.cjs");
const { begin } = require("./whatwg.js");

main({
  version: () => console.log("undici " + load("undici/package.json").version),
  async connect(url, words) {
    const { WebSocket } = load("undici");
    const { verdict, end } = await begin(WebSocket, url, words);     // it always offers permessage-deflate
    if (verdict) return verdict;
    if (words.at(-1) === "left") console.log("waiting");
    return end();
  },
});
