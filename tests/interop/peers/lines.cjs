// SPDX-License-Identifier: BSL-1.0
// What the peers in Node.js have in common: the library out of the folder given, and a line of input after the other.
"use strict";
const path = require("node:path");
const readline = require("node:readline");

// usage: node PEER.cjs FOLDER version|serve|connect; FOLDER is the one with node_modules
const [, , folder, what] = process.argv;
const load = name => require(path.join(path.resolve(folder), "node_modules", name));

async function main(roles) {
  if (what !== "connect") return roles[what]();
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [url, ...words] = line.split(" ");
    let verdict;
    try {
      verdict = await roles.connect(url, words);
    } catch (error) {
      verdict = "not ok: " + String(error && error.stack || error).replace(/\n\s*/g, " | ");
    }
    console.log(verdict);
  }
}

module.exports = { load, main };
