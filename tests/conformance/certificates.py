# SPDX-License-Identifier: BSL-1.0
"""A certificate for localhost, made for one run, and what both sides need to use it."""
import pathlib
import ssl
import subprocess


class Certificates:
    def __init__(self, folder):
        folder = pathlib.Path(folder)
        cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                        "-keyout", key, "-out", cert],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.server_options = ["--tls-cert", cert, "--tls-key", key]
        self.client_options = ["--ca", cert]
        self.client = ssl.create_default_context(cafile=cert)
        self.server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.server.load_cert_chain(cert, key)
