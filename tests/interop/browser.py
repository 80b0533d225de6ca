#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Chromium drives the pages of broadcast_hub and echo_server, as somebody with a mouse and a keyboard would."""
import asyncio
import base64
import itertools
import json
import pathlib
import re
import shutil

import harness
from harness import Failure, Program, check, same, wait

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
         # A tab that is not in front shall go on.
         "--disable-background-timer-throttling", "--disable-backgrounding-occluded-windows", "--disable-renderer-backgrounding",
         "--ignore-certificate-errors",      # the certificate of the tests is nobody's
         "--hide-scrollbars", "--lang=en", "--remote-debugging-port=0"]
DESKTOP = dict(width=1280, height=800, deviceScaleFactor=1, mobile=False)
PHONE = dict(width=390, height=844, deviceScaleFactor=2, mobile=True)


class Browser:
    """Chromium, spoken to by its DevTools protocol."""

    async def start(self, program, profile):
        import websockets
        self.process = await asyncio.create_subprocess_exec(
            program, *FLAGS, f"--user-data-dir={profile}", "about:blank", stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE)
        self.said = []

        async def address():
            while line := await self.process.stderr.readline():
                self.said.append(line.decode(errors="replace").strip())
                if match := re.search(r"DevTools listening on (ws://\S+)", self.said[-1]):
                    return match.group(1)
            raise Failure("the browser has ended: " + " | ".join(self.said[-5:]))
        where = await wait(address(), "the browser to start", 120)
        self.draining = asyncio.ensure_future(self._drain())
        self.ws = await wait(websockets.connect(where, max_size=None, compression=None, ping_interval=None), "the browser's DevTools")
        self.numbers, self.waiting, self.tabs = itertools.count(1), {}, {}
        self.reading = asyncio.ensure_future(self._read())
        return self

    async def _drain(self):
        while await self.process.stderr.read(65536):
            pass

    async def _read(self):
        async for text in self.ws:
            message = json.loads(text)
            if "id" in message:
                self.waiting.pop(message["id"]).set_result(message)
            elif message.get("sessionId") in self.tabs:
                self.tabs[message["sessionId"]].happened(message["method"], message["params"])

    async def call(self, method, session=None, limit=None, **params):
        number = next(self.numbers)
        answered = self.waiting[number] = asyncio.get_running_loop().create_future()
        await self.ws.send(json.dumps({"id": number, "method": method, "params": params,
                                       **({"sessionId": session} if session else {})}))
        answer = await wait(answered, f"the browser to answer to {method}", limit)
        if "error" in answer:
            raise Failure(f"the browser, {method}: {answer['error']}")
        return answer["result"]

    async def tab(self, size):
        target = (await self.call("Target.createTarget", url="about:blank"))["targetId"]
        session = (await self.call("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        tab = self.tabs[session] = Tab(self, target, session)
        for domain in ("Page", "Runtime", "Log"):
            await tab.call(domain + ".enable")
        await tab.resize(size)
        return tab

    async def stop(self):
        try:
            await self.call("Browser.close", limit=20)
            await wait(self.process.wait(), "the end of the browser", 20)
        except Exception:       # noqa: BLE001 - whatever is wrong with it, it shall end
            if self.process.returncode is None:
                self.process.kill()
            await self.process.wait()
        self.reading.cancel()
        await self.draining


class Tab:
    def __init__(self, browser, target, session):
        self.browser, self.target, self.session = browser, target, session
        self.loaded = asyncio.Event()
        self.complaints = []        # exceptions of scripts, and what the console calls an error

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    def happened(self, method, params):
        if method == "Page.loadEventFired":
            self.loaded.set()
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(params["exceptionDetails"].get("exception", {}).get("description") or params["exceptionDetails"]["text"])
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(params["entry"]["text"])

    async def resize(self, size):
        await self.call("Emulation.setDeviceMetricsOverride", **size)
        await self.call("Emulation.setTouchEmulationEnabled", enabled=size["mobile"])

    async def open(self, url):
        self.loaded.clear()
        gone = (await self.call("Page.navigate", url=url)).get("errorText")
        check(not gone, f"the browser can't open {url}: {gone}")
        await wait(self.loaded.wait(), f"{url} to load")

    async def reload(self):
        self.loaded.clear()
        await self.call("Page.reload")
        await wait(self.loaded.wait(), "the page to load again")

    async def close(self):
        await self.browser.call("Target.closeTarget", targetId=self.target)

    async def evaluate(self, expression):
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise Failure(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    async def until(self, condition, what):
        """Waits until a condition on the document holds: looks whenever the document changes."""
        try:
            await self.evaluate("""new Promise(done => {
                const look = () => { if (%s) { watch.disconnect(); done(true); } };
                const watch = new MutationObserver(look);
                watch.observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
                look();
            })""" % condition)
        except Failure as failure:
            text = await self.evaluate("document.body.innerText")
            raise Failure(f"the page never showed {what} ({failure}); it shows {text!r}; complaints: {self.complaints}") from None

    def shows(self, element, text):
        return self.until(f"document.getElementById({json.dumps(element)}).textContent.includes({json.dumps(text)})",
                          f"{text!r} in its {element}")

    def text(self, element):
        return self.evaluate(f"document.getElementById({json.dumps(element)}).textContent")

    async def click(self, element):
        place = await self.evaluate("""(() => { const r = document.getElementById(%s).getBoundingClientRect();
            return [r.x + r.width / 2, r.y + r.height / 2]; })()""" % json.dumps(element))
        for kind in ("mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    async def write(self, text):
        """Types into the page's field, which it finds by clicking."""
        await self.call("Page.bringToFront")
        await self.click("text")
        await self.evaluate("document.getElementById('text').select()")
        await self.call("Input.insertText", text=text)

    async def enter(self):
        for kind in ("keyDown", "keyUp"):
            await self.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13,
                            **({"text": "\r"} if kind == "keyDown" else {}))

    async def picture(self, name):
        """Keeps what a desktop and a phone show, and checks that nothing is cut off sideways."""
        await self.call("Page.bringToFront")
        for size, kind in ((PHONE, "phone"), (DESKTOP, "desktop")):
            await self.resize(size)
            await self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done())))")
            wide = await self.evaluate("document.documentElement.scrollWidth")
            same(wide, size["width"], f"the width of the page on a {kind}")
            data = (await self.call("Page.captureScreenshot", format="png"))["data"]
            (given.screenshots / f"{name}-{kind}.png").write_bytes(base64.b64decode(data))

    async def dark(self, on):
        await self.call("Emulation.setEmulatedMedia", features=[dict(name="prefers-color-scheme", value="dark" if on else "light")])

    def calm(self):
        same(self.complaints, [], "what the browser complained about")


def page_of(server):
    """Where a browser finds the page of a server."""
    return re.sub("^ws", "http", server.url)


async def tls(browser, identity):
    """The pages by https://, which connect by wss://."""
    server = await Program.start("echo_server", "--bind", "127.0.0.1:0", "--engine", given.engine, *identity.options, ready=1)
    tab = await browser.tab(DESKTOP)
    await tab.open(page_of(server) + "/")
    check(server.url.startswith("wss://"), f"where it listens: {server.url}")
    await tab.shows("output", f"CONNECTED to {server.url}/echo\nSENT Hello, WebSocket!\nRECEIVED Hello, WebSocket!\n")
    await tab.write("x" * 100_000)
    await tab.enter()
    await tab.shows("output", "RECEIVED " + "x" * 100_000 + "\n")
    tab.calm()
    await server.stop()
    await tab.shows("output", "CLOSED 1001")
    await tab.close()

    server = await Program.start("broadcast_hub", "--bind", "127.0.0.1:0", "--engine", given.engine, *identity.options, ready=1)
    one, two = await browser.tab(DESKTOP), await browser.tab(DESKTOP)
    for tab in (one, two):
        await tab.open(page_of(server) + "/?name=ada")
        await tab.shows("state", "open")
    await one.write("Hello over TLS")
    await one.enter()
    await two.shows("messages", "Hello over TLS")
    await two.close()
    await one.shows("messages", "ada 2 left")
    one.calm()
    await one.close()
    await server.stop()


async def hub(browser):
    server = await Program.start("broadcast_hub", "--bind", "127.0.0.1:0", "--engine", given.engine, ready=1)
    page = page_of(server)
    one, two = await browser.tab(DESKTOP), await browser.tab(DESKTOP)
    await one.open(page + "/?name=ada")
    await one.shows("state", "open")
    await one.shows("via", "WebSocket")
    await one.shows("count", "1 member")
    await two.open(page + "/")
    await two.shows("state", "open")
    for tab in (one, two):
        await tab.shows("count", "2 members")
    await one.shows("messages", "guest 2 joined")

    await one.write("Hello from the first tab")
    await one.enter()
    for tab in (one, two):
        await tab.shows("messages", "Hello from the first tab")
    await two.shows("messages", "ada 1")
    same(await one.evaluate("document.getElementById('text').value"), "", "the field after sending")
    await two.write("And back: Grüße, 世界 🌍 <b>not bold</b>")
    await two.click("send")
    for tab in (one, two):
        await tab.shows("messages", "And back: Grüße, 世界 🌍 <b>not bold</b>")
    await one.write("A longer message, to see how lines are broken on a phone: " + "lorem ipsum dolor sit amet, " * 6)
    await one.enter()
    await two.shows("messages", "lorem ipsum")
    await one.picture("hub-tab1")
    await two.picture("hub-tab2")
    await two.dark(True)
    await two.picture("hub-tab2-dark")
    await two.dark(False)

    await two.reload()
    await one.shows("messages", "guest 2 left")
    await one.shows("messages", "guest 3 joined")
    for tab in (one, two):
        await tab.shows("count", "2 members")
    await two.close()
    await one.shows("messages", "guest 3 left")
    await one.shows("count", "1 member")
    same(await one.text("count"), "1 member", "the count")
    one.calm()
    two.calm()

    # The hub stops: the page says so, and is back by itself when the hub is.
    await server.stop()
    await one.shows("messages", "disconnected (1001)")
    check(await one.evaluate("document.getElementById('send').disabled"), "the button can be pressed without a connection")
    await one.picture("hub-disconnected")
    server = await Program.start("broadcast_hub", "--bind", page.removeprefix("http://"), "--engine", given.engine, ready=1)
    await one.shows("state", "open")
    await one.shows("count", "1 member")
    await one.write("back again")
    await one.enter()
    await one.shows("messages", "back again")
    await one.close()
    await server.stop()


class Network:
    """A network between browser and server that breaks things: it refuses upgrades, and may hold back what has no end."""

    def __init__(self, port, holds_streams):
        self.port, self.holds_streams = port, holds_streams
        self.refused = self.held = 0
        self.tasks = set()

    async def start(self):
        def accept(reader, writer):
            task = asyncio.ensure_future(self.pass_on(reader, writer))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        self.server = await asyncio.start_server(accept, "127.0.0.1", 0)
        return "http://127.0.0.1:%d" % self.server.sockets[0].getsockname()[1]

    async def stop(self):
        self.server.close()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def pass_on(self, reader, writer):
        """One request on a connection, with its body if it is small."""
        theirs = None
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if b"upgrade: websocket" in head.lower():
                self.refused += 1
                writer.write(b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                return
            length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
            body = await reader.readexactly(int(length.group(1))) if length else b""
            answers, theirs = await asyncio.open_connection("127.0.0.1", self.port)
            theirs.write(re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", head).replace(b"\r\n", b"\r\nConnection: close\r\n", 1) + body)
            if self.holds_streams and b"GET /events" in head:
                self.held += 1
                gone = asyncio.ensure_future(reader.read())     # the browser's patience
                await asyncio.wait([gone, asyncio.ensure_future(answers.read())], return_when=asyncio.FIRST_COMPLETED)
                return
            gone = asyncio.ensure_future(reader.read())
            while True:
                part = asyncio.ensure_future(answers.read(65536))
                await asyncio.wait([gone, part], return_when=asyncio.FIRST_COMPLETED)
                if gone.done() or not part.result():
                    return
                writer.write(part.result())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            for end in filter(None, (writer, theirs)):
                end.close()


async def fallback(browser, holds_streams, via):
    """Two members behind such a network and one in front of it talk, leave, and come back with the server."""
    server = await Program.start("broadcast_hub", "--bind", "127.0.0.1:0", "--threads", "2", "--engine", given.engine, ready=1)
    where = server.url.replace("ws://", "")
    network = Network(int(where.rpartition(":")[2]), holds_streams)
    behind = await network.start()
    front, one, two = await browser.tab(DESKTOP), await browser.tab(DESKTOP), await browser.tab(DESKTOP)
    await front.open(f"http://{where}/?name=eve")
    await front.shows("via", "WebSocket")
    await front.shows("state", "open")
    await one.open(behind + "/?name=ada")
    await one.shows("via", via)
    await one.shows("state", "open")
    # A page whose stream is held back has been a member by it for a moment.
    ada, guest = ("ada 3", "guest 5") if holds_streams else ("ada 2", "guest 3")
    await one.shows("messages", "you are " + ada)
    await two.open(behind + "/")
    await two.shows("messages", "you are " + guest)
    check(network.refused >= 2, "the network was not asked for an upgrade")
    check(bool(network.held) == holds_streams, "the network held back what it should not, or not what it should")
    for tab in (front, one, two):
        await tab.shows("count", "3 members")
    for tab, text in ((front, "Over a WebSocket"), (one, "Over HTTP: Grüße, 世界 🌍 <b>not bold</b> %41+&"), (two, "and back")):
        await tab.write(text)
        await tab.enter()
        for other in (front, one, two):
            await other.shows("messages", text)
    await front.shows("messages", ada)
    same(await one.evaluate("document.querySelectorAll('#messages .mine').length"), 1, "messages of its own")
    await one.picture("hub-" + via.replace(" ", "-"))
    await two.open("about:blank")
    await front.shows("messages", guest + " left")
    await one.shows("count", "2 members")

    await server.stop()
    await one.shows("messages", "disconnected")
    await one.shows("state", "closed")
    server = await Program.start("broadcast_hub", "--bind", where, "--threads", "2", "--engine", given.engine, ready=1)
    await one.shows("state", "open")
    await one.write("back again")
    await one.enter()
    await one.shows("messages", "back again")
    for tab in (front, one, two):
        await tab.close()
    await network.stop()
    await server.stop()


async def echo(browser):
    server = await Program.start("echo_server", "--bind", "127.0.0.1:0", "--engine", given.engine, ready=1)
    tab = await browser.tab(DESKTOP)
    await tab.open(page_of(server) + "/")
    await tab.shows("output", f"CONNECTED to {server.url}/echo\nSENT Hello, WebSocket!\nRECEIVED Hello, WebSocket!\n")
    await tab.write("Grüße, 世界 🌍")
    await tab.click("send")
    await tab.shows("output", "SENT Grüße, 世界 🌍\nRECEIVED Grüße, 世界 🌍\n")
    await tab.write("x" * 10_000)
    await tab.enter()
    await tab.shows("output", "RECEIVED " + "x" * 10_000 + "\n")
    await tab.reload()
    await tab.shows("output", "RECEIVED Hello, WebSocket!\n")
    await tab.write("and one more")
    await tab.enter()
    await tab.shows("output", "RECEIVED and one more\n")
    await tab.picture("echo")
    tab.calm()
    await server.stop()
    await tab.shows("output", "CLOSED 1001")
    await tab.close()


async def deflate(browser):
    """Messages of the browser's that are compressed, and answers that are, with windows that are kept and without."""
    for option in ("--deflate", "--takeover"):
        server = await Program.start("echo_server", "--bind", "127.0.0.1:0", "--engine", given.engine, option, ready=1)
        tab = await browser.tab(DESKTOP)
        await tab.open(server.url.replace("ws://", "http://") + "/")
        result = await tab.evaluate("""new Promise(done => {
            const noise = crypto.getRandomValues(new Uint8Array(60_000));
            const messages = ["hello", "hello", "", "Grüße, 世界 🌍 ".repeat(5000), "x".repeat(500_000), noise,
                              new Uint8Array(100_000), "hello"];
            const same = (a, b) => {
                if (typeof a == "string") return a === b;
                const bytes = new Uint8Array(b);
                return bytes.length == a.length && a.every((c, i) => c == bytes[i]);
            };
            const ws = new WebSocket(%s);
            ws.binaryType = "arraybuffer";
            let at = 0;
            ws.onopen = () => messages.forEach(m => ws.send(m));
            ws.onmessage = event => {
                if (!same(messages[at], event.data)) done(`message ${at} came back changed`);
                if (++at == messages.length) ws.close(1000);
            };
            ws.onclose = event => done(`${ws.extensions.split(";")[0]}, ${at} messages, ${event.code}`);
        })""" % json.dumps(server.url + "/echo"))
        same(result, "permessage-deflate, 8 messages, 1000", f"how the browser fared with {option}")
        tab.calm()
        await tab.close()
        await server.stop()

    server = await Program.start("broadcast_hub", "--bind", "127.0.0.1:0", "--engine", given.engine, "--takeover", ready=1)
    tabs = [await browser.tab(DESKTOP) for _ in range(2)]
    for tab in tabs:
        await tab.open(server.url.replace("ws://", "http://") + "/?name=ada")
        await tab.shows("state", "open")
    for text in ("compressed once, for both " * 20, "and once more " * 20):
        await tabs[0].write(text)
        await tabs[0].enter()
        for tab in tabs:
            await tab.shows("messages", text.strip())
    for tab in tabs:
        tab.calm()
        await tab.close()
    await server.stop()


async def scenarios(suite):
    browser = await Browser().start(program, suite.path() + ".profile")
    try:
        await suite.run("hub page: two tabs talk, reload, leave, and come back", hub, browser)
        await suite.run("hub page: server-sent events where upgrades are refused", fallback, browser, False, "server-sent events")
        await suite.run("hub page: polling where streams are held back as well", fallback, browser, True, "polling")
        await suite.run("echo page: connects, sends, receives", echo, browser)
        await suite.run("compressed messages both ways", deflate, browser)
        await suite.run("both pages over TLS", tls, browser, suite.identity())
    finally:
        await browser.stop()


if __name__ == "__main__":
    given = harness.arguments(__doc__, engine=dict(default="auto"),
                              screenshots=dict(type=pathlib.Path, required=True, help="folder that keeps the pictures"))
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not program:
        harness.skip("there is no Chromium (tools/setup --tests installs it)")
    try:
        import websockets  # noqa: F401
    except ImportError:
        harness.skip("python3-websockets is missing (tools/setup --tests installs it)")
    given.screenshots.mkdir(parents=True, exist_ok=True)
    harness.main(scenarios, "Chromium")
