"""A small OpenID Connect provider for tests: whoever comes is signed in at once as the person that it was told."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT_ID = "earwitness-tests"


class OpenIdProvider:
    """Serves discovery, authorization, tokens and keys on localhost.

    Args:
        person: claims of whoever signs in, e.g. `name` and `email`.
    """

    def __init__(self, person: dict[str, object]) -> None:
        self.person, self.nonces, key = person, {}, RSAKey.generate_key(2048, {"kid": "k", "use": "sig", "alg": "RS256"})
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                address = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(address.query).items()}
                if address.path == "/.well-known/openid-configuration":
                    self.answer(provider.configuration)
                elif address.path == "/keys":
                    self.answer({"keys": [key.as_dict(private=False)]})
                elif address.path == "/authorize":
                    provider.nonces["code"] = query.get("nonce")
                    self.send_response(302)
                    self.send_header("Location", f"{query['redirect_uri']}?{urlencode({'code': 'code', 'state': query['state']})}")
                    self.end_headers()

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                now = int(time.time())
                claims = {"iss": provider.url, "aud": CLIENT_ID, "sub": "1", "iat": now, "exp": now + 600}
                claims |= provider.person | {"nonce": provider.nonces["code"]}
                token = jwt.encode({"alg": "RS256", "kid": "k"}, claims, key)
                self.answer({"access_token": "x", "token_type": "Bearer", "expires_in": 600, "id_token": token})

            def answer(self, content: dict) -> None:
                body = json.dumps(content).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def configuration(self) -> dict[str, object]:
        """What discovery says."""
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def close(self) -> None:
        """Stops serving."""
        self.server.shutdown()
        self.server.server_close()
