#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Other people's HTTP clients and the servers' plain HTTP: curl and Python's http.client."""
import asyncio
import http.client
import pathlib
import re
import shutil

import harness
from harness import Program, check, same, wait


async def curl(*arguments, status=0, text=None):
    """Runs curl; gives what it writes, text or bytes."""
    process = await asyncio.create_subprocess_exec(
        "curl", "--silent", "--show-error", "--max-time", str(int(harness.PATIENCE)), *arguments, stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    output, errors = await wait(process.communicate(text.encode() if text is not None else None), "curl")
    same(process.returncode, status, f"curl's exit status ({errors.decode()!r})")
    return output.decode()


class Stream:
    """curl --no-buffer: the events of a text/event-stream as they come."""

    @classmethod
    async def open(cls, url, *arguments):
        self = cls()
        self.process = await asyncio.create_subprocess_exec(
            "curl", "--silent", "--no-buffer", *arguments, url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL)
        return self

    async def event(self):
        """(name, data) of the next event; None at the end."""
        name, data = "message", []
        while line := await wait(self.process.stdout.readline(), "an event"):
            line = line.decode().rstrip("\n")
            if not line and data:
                return name, "\n".join(data)
            field, _, value = line.partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                data.append(value)
        return None

    async def stop(self):
        if self.process.returncode is None:
            self.process.terminate()
        await wait(self.process.wait(), "the end of curl")


def by_python(where, steps):
    """Several requests on one connection of http.client; gives (status, fields in lower case, body) of each."""
    connection = http.client.HTTPConnection(where, timeout=harness.PATIENCE)
    answers, sockets = [], set()
    for method, path, body, fields in steps:
        connection.request(method, path, body=body, headers=fields)
        sockets.add(id(connection.sock))
        answer = connection.getresponse()
        answers.append((answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()))
    connection.close()
    return answers, len(sockets)


class Scenarios:
    def __init__(self, suite, engine):
        self.suite, self.engine = suite, engine

    async def hub(self, *arguments):
        server = await Program.start("broadcast_hub", "--bind", "127.0.0.1:0", "--engine", self.engine, *arguments, ready=1)
        return server, server.url.replace("ws", "http", 1)

    async def pages(self):
        server, url = await self.hub()
        folder = pathlib.Path(self.suite.path() + ".curl")
        folder.mkdir()
        page = await curl(url + "/")
        check(page.startswith("<!doctype html>"), f"the page: {page[:100]!r}")
        head = await curl("--head", url + "/")
        check(re.search(r"(?i)^content-length: %d\r$" % len(page.encode()), head, re.M), f"the answer to HEAD: {head!r}")
        for wanted in ("200", "304"):
            got = await curl("--etag-save", folder / "tag", "--etag-compare", folder / "tag", "--output", folder / "page",
                             "--write-out", "%{http_code}", url + "/")
            same(got, wanted, "the status with a remembered tag")
        same(await curl(url + "/health"), "ok\n", "health")
        for path, options, wanted in (("/nowhere", (), "426"), ("/health", ("--request", "DELETE"), "405"),
                                      ("/a/../health", ("--path-as-is",), "400"), ("/", ("--http1.0",), "200"),
                                      ("/send?key=nobody", ("--data", "x"), "410"), ("/" + "x" * 9000, (), "414"),
                                      ("/", ("--header", "X: " + "x" * 17000), "431"), ("/", ("--header", "Expect: x"), "417"),
                                      ("/send?key=nobody", ("--data", "x", "--header", "Origin: https://evil.example"), "403")):
            got = await curl(*options, "--output", "/dev/null", "--write-out", "%{http_code}", url + path)
            same(got, wanted, f"the status of {path[:40]} with {options}")
        await server.stop()

    async def one_connection(self):
        """curl and Python use one connection for several requests, where they may."""
        server, url = await self.hub()
        connects = await curl(*(["--write-out", "%{num_connects} ", "--output", "/dev/null", url + "/health"] + ["--next", "--silent",
                              "--write-out", "%{num_connects} ", "--output", "/dev/null", url + "/"] * 3))
        same(connects.split(), ["1", "0", "0", "0"], "new connections for each request")
        where = url.removeprefix("http://")
        answers, connections = await asyncio.to_thread(by_python, where, [
            ("GET", "/health", None, {}), ("GET", "/", None, {}), ("HEAD", "/", None, {}), ("GET", "/health", None, {})])
        same(([status for status, _, _ in answers], connections), ([200] * 4, 1), "Python's requests, and its connections")
        same(answers[2][2], b"", "the body of an answer to HEAD")
        # A refusal ends the connection; the client opens another.
        answers, connections = await asyncio.to_thread(by_python, where, [
            ("GET", "/nowhere", None, {}), ("GET", "/health", None, {})])
        same(([status for status, _, _ in answers], answers[0][1]["connection"]), ([426, 200], "close, Upgrade"), "after a refusal")
        await server.stop()

    async def events(self):
        """Two guests hear and send by server-sent events; a third polls."""
        server, url = await self.hub("--threads", "2")
        one = await Stream.open(url + "/events?name=ann")
        name, key = await one.event()
        same(name, "key", "the first event")
        same(await one.event(), ("message", "* ann 1 joined, 1 here"), "the next")
        two = await Stream.open(url + "/events", "--http1.0")
        _, other = await two.event()
        for stream in (one, two):
            same(await stream.event(), ("message", "* guest 2 joined, 2 here"), "who has come")
        same(await curl("--data", "Grüße\nin two lines", "--write-out", "%{http_code}", url + "/send?key=" + key), "204", "a text is taken")
        for stream in (one, two):
            same(await stream.event(), ("message", "ann 1: Grüße\nin two lines"), "a text of two lines")
        same(await curl("--upload-file", "-", "--request", "POST", "--header", "Transfer-Encoding: chunked", "--header", "Expect:", "--write-out", "%{http_code}",
                        url + "/send?key=" + other, text="in chunks"), "204", "a chunked text is taken")
        for stream in (one, two):
            same(await stream.event(), ("message", "guest 2: in chunks"), "it")

        guest, after, *lines = (await curl(url + "/poll?name=eve")).splitlines()
        same(lines, ["%2A%20eve%203%20joined%2C%203%20here"], "the first poll")
        waiting = asyncio.ensure_future(curl(f"{url}/poll?key={guest}&after={after}"))
        same(await one.event(), ("message", "* eve 3 joined, 3 here"), "who polls")
        await curl("--data", "hello", url + "/send?key=" + key)
        same((await waiting).splitlines()[2:], ["ann%201%3A%20hello"], "what a poll has waited for")
        await curl("--request", "POST", url + "/leave?key=" + guest)
        for event in ("ann 1: hello", "* eve 3 left, 2 here"):
            same(await one.event(), ("message", event), "what has happened")
        same(await curl("--output", "/dev/null", "--write-out", "%{http_code}", f"{url}/poll?key={guest}&after=0"), "410", "a poll of one who has left")

        await two.stop()
        same(await one.event(), ("message", "* guest 2 left, 1 here"), "who has left")
        # Too long a text, of which curl asks first whether it may come (Expect), or not.
        for expect, wanted in (("Expect:", "413"), ("Expect: 100-continue", "417")):
            same(await curl("--data-binary", "@-", "--header", expect, "--output", "/dev/null", "--write-out", "%{http_code}",
                            url + "/send?key=" + key, text="x" * 2_000_000), wanted, f"a text over the limit, {expect}")
        server.interrupt()
        same(await one.event(), None, "the end of the stream")
        await wait(one.process.wait(), "the end of curl")
        same(one.process.returncode, 0, "curl's exit status: the stream was whole")
        await server.exit(0)

    async def a_request_at_the_end(self):
        """Ctrl-C while somebody polls: an answer comes, and the server ends in time."""
        server, url = await self.hub()
        guest, after, *_ = (await curl(url + "/poll")).splitlines()
        host, _, port = url.removeprefix("http://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET /poll?key={guest}&after={after} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        await writer.drain()
        same(await curl(url + "/health"), "ok\n", "health, asked for after the poll")
        server.interrupt()
        answer = await wait(reader.read(), "the answer to a poll that was cut short")
        writer.close()
        head, _, body = answer.decode().partition("\r\n\r\n")
        check(head.startswith("HTTP/1.1 200 "), f"the head of the answer: {head!r}")
        same(body.splitlines(), [guest, after], "the answer to a poll that was cut short")
        await server.exit(0)

    async def tls(self):
        """All of it by https://, and plain HTTP to such a port."""
        identity = self.suite.identity()
        server, url = await self.hub(*identity.options)
        check(url.startswith("https://"), f"where it listens: {url}")
        trust = ("--cacert", identity.cert)
        same(await curl(*trust, url + "/health"), "ok\n", "health")
        each = ["--write-out", "%{num_connects} ", "--output", "/dev/null", url + "/"]
        connects = await curl(*trust, *each, *(["--next", *trust, "--silent", *each] * 3))
        same(connects.split(), ["1", "0", "0", "0"], "new connections for each request")
        guest = await Stream.open(url + "/events?name=ann", *trust)
        _, key = await guest.event()
        same(await guest.event(), ("message", "* ann 1 joined, 1 here"), "the first event")
        large = "x" * 60_000
        same(await curl(*trust, "--data-binary", "@-", "--write-out", "%{http_code}", url + "/send?key=" + key, text=large), "204", "a text is taken")
        same(await guest.event(), ("message", "ann 1: " + large), "a large text")
        plain = url.replace("https", "http")
        same(await curl("--output", "/dev/null", "--write-out", "%{http_code}", plain + "/"), "400", "plain HTTP")
        server.interrupt()
        same(await guest.event(), None, "the end of the stream")
        await wait(guest.process.wait(), "the end of curl")
        same(guest.process.returncode, 0, "curl's exit status: the stream was whole")
        await server.exit(0)

    async def many(self):
        server, url = await self.hub()
        answers = await asyncio.gather(*(curl(url + "/health") for _ in range(20)))
        same(answers, ["ok\n"] * 20, "twenty at once")
        await server.stop()


async def scenarios(suite):
    here = Scenarios(suite, given.engine)
    for name, scenario in (("pages, tags and refusals", here.pages), ("one connection for several requests", here.one_connection),
                           ("server-sent events and polling", here.events), ("Ctrl-C while somebody polls", here.a_request_at_the_end),
                           ("TLS", here.tls), ("twenty at once", here.many)):
        await suite.run(f"broadcast_hub and HTTP clients: {name}", scenario)


if __name__ == "__main__":
    given = harness.arguments(__doc__, engine=dict(default="auto"))
    if not shutil.which("curl"):
        harness.skip("there is no curl (tools/setup --tests installs it)")
    harness.main(scenarios, given.engine)
