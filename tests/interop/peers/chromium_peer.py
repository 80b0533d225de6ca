# SPDX-License-Identifier: BSL-1.0
"""Peer: Chromium, a tab of which runs whatwg.js. A client only."""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import browser  # noqa: E402
from python_peer import Cannot, Wrong, main, say  # noqa: E402

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
tab = None


async def connect(url, words):
    """It offers permessage-deflate always."""
    global tab
    if not tab:
        profile = tempfile.TemporaryDirectory(prefix="wring-chromium-")
        tab = await (await browser.Browser().start(PROGRAM, profile.name)).tab(browser.DESKTOP)
        tab.profile = profile
        await tab.evaluate((HERE / "whatwg.js").read_text() + ";globalThis.begin = begin; 0")
    verdict = await tab.evaluate(f"begin(WebSocket, {json.dumps(url)}, {json.dumps(words)})"
                                 ".then(({ verdict, end }) => { globalThis.end = end; return verdict; })")
    if not verdict:
        if words[-1] == "left":
            say("waiting")
        verdict = await tab.evaluate("end()")
    if verdict.startswith("cannot: "):
        raise Cannot(verdict.removeprefix("cannot: "))
    if verdict != "ok":
        raise Wrong(verdict.removeprefix("not ok: "))


async def stop():
    if tab:
        await tab.browser.stop()
        tab.profile.cleanup()


main(subprocess.run([PROGRAM, "--version"], text=True, capture_output=True).stdout.strip(), None, connect, stop)
