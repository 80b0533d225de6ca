#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""sslscan and testssl.sh look at what echo_server speaks on wss://: no finding of medium severity or above."""
import asyncio
import json
import pathlib
import shutil
import subprocess
import xml.etree.ElementTree

import harness
from harness import Program, check, same, wait

VERSIONS = {("ssl", "2"): "0", ("ssl", "3"): "0", ("tls", "1.0"): "0", ("tls", "1.1"): "0", ("tls", "1.2"): "1", ("tls", "1.3"): "1"}
# What they say of a certificate that is made for this test: nobody has signed it, and it is for two days.
OF_THE_CERTIFICATE = {"cert_chain_of_trust", "cert_expirationStatus", "cert_notAfter", "cert_revocation"}


async def output(*command):
    process = await asyncio.create_subprocess_exec(*command, stdin=subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return said.decode(errors="replace")


async def sslscan(program, where, folder):
    file = folder / "sslscan.xml"
    said = await output(program, f"--xml={file}", "--no-colour", where)
    check(file.exists(), f"sslscan made no report: {said}")
    seen = xml.etree.ElementTree.parse(file).getroot().find("ssltest")
    versions = {(p.get("type"), p.get("version")): p.get("enabled") for p in seen.iter("protocol")}
    same(versions, VERSIONS, "the versions")
    same([r.attrib for r in seen.iter("renegotiation") if r.get("supported") != "0"], [], "renegotiation")
    same([c.attrib for c in seen.iter("compression") if c.get("supported") != "0"], [], "compression")
    same([h.attrib for h in seen.iter("heartbleed") if h.get("vulnerable") != "0"], [], "heartbleed")
    ciphers = [c.attrib for c in seen.iter("cipher")]
    check(ciphers, "no ciphers")
    same([c for c in ciphers if c["strength"] not in ("strong", "acceptable") or int(c["bits"]) < 128], [], "weak ciphers")
    same([g.attrib for g in seen.iter("group") if int(g.get("bits")) < 112], [], "weak groups")


async def testssl(program, where, folder):
    file = folder / "testssl.json"
    said = await output(program, "--jsonfile", str(file), "--color", "0", "--quiet", "--warnings", "batch", where)
    check(file.exists(), f"testssl.sh made no report: {said}")
    findings = json.loads(file.read_text())
    check(len(findings) > 50, f"testssl.sh has not looked at much: {findings}")
    bad = [f for f in findings if f["severity"] in ("MEDIUM", "HIGH", "CRITICAL") and f["id"] not in OF_THE_CERTIFICATE]
    same(bad, [], "findings")


async def scanned(suite, engine, scan, program):
    folder = pathlib.Path(suite.path() + ".scan")
    folder.mkdir()
    server = await Program.start("echo_server", "--bind", "127.0.0.1:0", "--engine", engine, *suite.identity("scanned").options, ready=1)
    await wait(scan(program, server.addresses[0].removeprefix("wss://"), folder), "the scanner")
    server.interrupt()
    await server.exit(0)
    same(server.errors, "", "errors")


async def scenarios(suite):
    for name, scan, programs in (("sslscan", sslscan, ["sslscan"]), ("testssl.sh", testssl, ["testssl", "testssl.sh"])):
        program = next(filter(None, map(shutil.which, programs)), None)
        if program:
            await suite.run(f"{name} finds nothing", scanned, suite, given.engine, scan, program)
        else:
            print(f"ok - {name} finds nothing # skip it is not installed (tools/setup --nightly)", flush=True)


if __name__ == "__main__":
    given = harness.arguments(__doc__, engine=dict(default="auto"))
    harness.PATIENCE = max(harness.PATIENCE, 250)       # they take their time
    harness.main(scenarios, given.engine)
