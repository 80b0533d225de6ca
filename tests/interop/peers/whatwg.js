// SPDX-License-Identifier: BSL-1.0
// A scenario with the WebSocket that browsers have: for Chromium and for undici. README.md says what the words mean.
"use strict";

const encoder = new TextEncoder();

function textOf(size) {
  const text = "aé世🌍".repeat(size / 10);
  return text + "x".repeat(size - encoder.encode(text).length);
}

function bytesOf(size) {
  let state = 1;
  return Uint8Array.from({ length: size }, () => (state = Math.imul(state, 1103515245) + 12345) >>> 28);
}

const sameBytes = (a, b) => a.length === b.length && a.every((byte, at) => byte === b[at]);

// Does what is to be done until the connection ends or shall end from the other side. `end` waits for that.
async function begin(WebSocket, url, words) {
  if (words.some(word => /^[TB]:/.test(word))) return { verdict: "cannot: there is no way to send a message in frames" };
  const ws = new WebSocket(url);
  ws.binaryType = "arraybuffer";
  const events = [];
  let waiting = null;
  const happened = event => {
    events.push(event);
    if (waiting) waiting();
  };
  ws.onopen = () => happened({ open: true });
  ws.onmessage = ({ data }) => happened({ data });
  ws.onclose = ({ code, reason, wasClean }) => happened({ closed: `${code} '${reason}'${wasClean ? "" : " not clean"}` });
  const next = async () => {
    while (!events.length) await new Promise(done => waiting = done);
    return events.shift();
  };
  const ending = words[words.length - 1];
  const end = async () => {
    const { closed, data } = await next();
    if (data !== undefined) return "not ok: a message instead of a close";
    const wanted = { close: "1000 'bye'", asked: "4001 'as asked'", left: "1001 ''" }[ending];
    return closed === wanted || ending === "close" && closed === "1000 ''" ? "ok" : `not ok: closed with ${closed}`;
  };
  const first = await next();
  if (!first.open) return { verdict: `not ok: no connection: ${first.closed}` };
  for (const word of words) {
    const [kind, size] = word.split(":");
    if (size === undefined) continue;
    const message = kind === "t" ? textOf(+size) : bytesOf(+size);
    ws.send(message);
    const { data, closed } = await next();
    const same = kind === "t" ? data === message : data instanceof ArrayBuffer && sameBytes(new Uint8Array(data), message);
    if (!same) return { verdict: `not ok: ${word} came back different${closed ? ": closed with " + closed : ""}` };
  }
  if (ending === "close") ws.close(1000, "bye");
  if (ending === "asked") ws.send("close, please");
  return { end };
}

if (typeof module !== "undefined") module.exports = { begin, textOf, bytesOf, sameBytes };
