"""Authlib on Flask, on a loopback port that the system chooses. The answer to a refresh names no refresh token, as
Authlib has it unless it is told otherwise: the one before stays. With --rotate each is good once, and a second
presentation is refused and ends nothing. One JSON line on stdout says where it is and who its clients are; it ends with
its standard input. All is held in memory.

    python server.py [--rotate] [--access-token-life SECONDS]

    GET /stats     what the token endpoint has seen
    GET /whoami    wants a token: what an API would do
"""

import argparse
import json
import logging
import os
import secrets
import sys
import threading
import time

# Its word for: plain http is permitted. Nothing here leaves loopback.
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

from authlib.integrations.flask_oauth2 import AuthorizationServer, ResourceProtector, current_token
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import (
    BaseGrant,
    ClientMixin,
    InvalidGrantError,
    TokenEndpointMixin,
    TokenMixin,
    grants,
    list_to_scope,
    scope_to_list,
)
from authlib.oauth2.rfc6749.models import AuthorizationCodeMixin
from authlib.oauth2.rfc6750 import BearerTokenGenerator, BearerTokenValidator
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion, JWTBearerGrant
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from authlib.oauth2.rfc9207 import IssuerParameter
from flask import Flask, jsonify, redirect, request, session
from joserfc.jwk import RSAKey
from werkzeug.serving import WSGIRequestHandler, make_server

JWT_BEARER = JWTBearerGrant.GRANT_TYPE
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
CALLBACK = "http://127.0.0.1/callback"
USER, PASSWORD = "ada", secrets.token_urlsafe(12)

arguments = argparse.ArgumentParser()
arguments.add_argument("--rotate", action="store_true")
arguments.add_argument("--access-token-life", type=int, default=3600)
options = arguments.parse_args()

# ---- what is kept ----


class Client(ClientMixin):
    def __init__(self, client_id, method, secret="", grant_types=(), key=None):
        self.client_id, self.method, self.secret = client_id, method, secret
        self.grant_types, self.key = grant_types, key

    def get_client_id(self):
        return self.client_id

    def get_default_redirect_uri(self):
        return CALLBACK

    def get_allowed_scope(self, scope):
        return list_to_scope([word for word in scope_to_list(scope or "") if word in ("read", "write")])

    def check_redirect_uri(self, redirect_uri):
        # A native client may come back to any port of this machine (RFC 8252 section 7.3).
        return redirect_uri.startswith("http://127.0.0.1") and redirect_uri.endswith("/callback")

    def check_client_secret(self, client_secret):
        return secrets.compare_digest(self.secret, client_secret)

    def check_endpoint_auth_method(self, method, endpoint):
        return method == self.method

    def check_response_type(self, response_type):
        return response_type == "code"

    def check_grant_type(self, grant_type):
        return grant_type in self.grant_types


class Token(TokenMixin):
    def __init__(self, client, user, token, grant):
        self.client_id, self.user, self.token, self.grant = client.client_id, user, token, grant
        self.issued_at, self.revoked, self.spent = time.time(), False, False

    def check_client(self, client):
        return self.client_id == client.client_id

    def get_scope(self):
        return self.token.get("scope", "")

    def get_expires_in(self):
        return self.token["expires_in"]

    def get_expires_at(self):
        return int(self.issued_at + self.get_expires_in())

    def is_expired(self):
        return time.time() >= self.get_expires_at()

    def is_revoked(self):
        return self.revoked

    def get_user(self):
        return self.user

    def get_client(self):
        return CLIENTS[self.client_id]


class Code(AuthorizationCodeMixin):
    def __init__(self, code, client_id, user, payload):
        self.code, self.client_id, self.user = code, client_id, user
        self.redirect_uri, self.scope = payload.redirect_uri, payload.scope
        self.code_challenge = payload.data.get("code_challenge")
        self.code_challenge_method = payload.data.get("code_challenge_method")

    def get_redirect_uri(self):
        return self.redirect_uri

    def get_scope(self):
        return self.scope


def clients():
    person = ["authorization_code", "refresh_token", "password", TOKEN_EXCHANGE]
    key = RSAKey.generate_key(2048, {"kid": "key-1", "alg": "RS256"})
    everything = [*person, "client_credentials", JWT_BEARER]
    return key, {
        client.client_id: client
        for client in [
            Client("basic", "client_secret_basic", secrets.token_urlsafe(24), everything),
            Client("post", "client_secret_post", secrets.token_urlsafe(24), everything),
            Client("public", "none", grant_types=person),
            Client("key", "private_key_jwt", grant_types=everything, key=key),
        ]
    }


KEY, CLIENTS = clients()
CODES, TOKENS, STATEMENTS = {}, [], set()
STATS = {"token_requests": 0, "by_grant": {}, "refreshes": 0, "refused": 0, "reuse_detected": 0}
LOCK = threading.Lock()


def find_token(value, *kinds):
    return next((token for token in TOKENS for kind in kinds if token.token.get(kind) == value), None)


def save_token(token, asked):
    previous = asked.refresh_token
    grant = previous.grant if previous else secrets.token_hex(8)
    TOKENS.append(Token(asked.client, asked.user, dict(token), grant))
    STATS["refreshes"] += previous is not None


# ---- the grants ----


class AuthorizationCodeGrant(grants.AuthorizationCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"]

    def save_authorization_code(self, code, asked):
        CODES[code] = Code(code, asked.client.client_id, asked.user, asked.payload)

    def query_authorization_code(self, code, client):
        found = CODES.get(code)
        return found if found and found.client_id == client.client_id else None

    def delete_authorization_code(self, authorization_code):
        CODES.pop(authorization_code.code, None)

    def authenticate_user(self, authorization_code):
        return authorization_code.user


class PasswordGrant(grants.ResourceOwnerPasswordCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = AuthorizationCodeGrant.TOKEN_ENDPOINT_AUTH_METHODS

    def authenticate_user(self, username, password):
        return USER if (username, password) == (USER, PASSWORD) else None


class ClientCredentialsGrant(grants.ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", "client_secret_post", "private_key_jwt"]


class RefreshTokenGrant(grants.RefreshTokenGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = AuthorizationCodeGrant.TOKEN_ENDPOINT_AUTH_METHODS
    INCLUDE_NEW_REFRESH_TOKEN = options.rotate

    def authenticate_refresh_token(self, refresh_token):
        found = find_token(refresh_token, "refresh_token")
        STATS["reuse_detected"] += bool(found and found.spent)
        return found if found and not found.revoked and not found.spent else None

    def authenticate_user(self, refresh_token):
        return refresh_token.user

    def revoke_old_credential(self, refresh_token):
        refresh_token.spent = options.rotate


class StatementGrant(JWTBearerGrant):
    def resolve_issuer_client(self, issuer):
        return CLIENTS.get(issuer)

    def resolve_client_public_key(self, client):
        return KEY

    def authenticate_user(self, subject):
        return subject if subject in (USER, *CLIENTS) else None

    def has_granted_permission(self, client, user):
        return True

    def get_audiences(self):
        return audiences()


class StatementOfClient(JWTBearerClientAssertion):
    CLIENT_AUTH_METHOD = "private_key_jwt"

    def get_audiences(self):
        return audiences()

    def validate_jti(self, claims, jti):
        if jti in STATEMENTS:
            return False
        STATEMENTS.add(jti)
        return True

    def resolve_client_public_key(self, client):
        return KEY


class TokenExchangeGrant(BaseGrant, TokenEndpointMixin):
    """RFC 8693, which Authlib leaves to who uses it: an access token of ours for another of the same user."""

    GRANT_TYPE = TOKEN_EXCHANGE
    TOKEN_ENDPOINT_AUTH_METHODS = AuthorizationCodeGrant.TOKEN_ENDPOINT_AUTH_METHODS

    def validate_token_request(self):
        self.request.client = self.authenticate_token_endpoint_client()
        subject = find_token(self.request.form.get("subject_token"), "access_token")
        kind = self.request.form.get("subject_token_type")
        good = subject and not subject.revoked and not subject.is_expired()
        if not good or kind != "urn:ietf:params:oauth:token-type:access_token":
            raise InvalidGrantError(description="the subject token is not good")
        self.request.user = subject.user

    def create_token_response(self):
        scope = self.request.payload.scope
        token = self.generate_token(scope=scope, user=self.request.user, include_refresh_token=False)
        self.save_token(token)
        token["issued_token_type"] = "urn:ietf:params:oauth:token-type:access_token"
        return 200, token, self.TOKEN_RESPONSE_HEADER


# ---- what else an authorization server does ----


class Revocation(RevocationEndpoint):
    CLIENT_AUTH_METHODS = AuthorizationCodeGrant.TOKEN_ENDPOINT_AUTH_METHODS

    def query_token(self, token_string, token_type_hint):
        return find_token(token_string, "refresh_token", "access_token")

    def revoke_token(self, token, asked):
        # The whole grant ends, whichever of its tokens was named.
        for other in TOKENS:
            other.revoked |= other.grant == token.grant


class Introspection(IntrospectionEndpoint):
    CLIENT_AUTH_METHODS = AuthorizationCodeGrant.TOKEN_ENDPOINT_AUTH_METHODS

    def query_token(self, token_string, token_type_hint):
        return find_token(token_string, "access_token", "refresh_token")

    def check_permission(self, token, client, asked):
        return token.check_client(client)

    def introspect_token(self, token):
        active = not token.revoked and not token.spent
        said = {"active": active, "client_id": token.client_id, "sub": token.user, "scope": token.get_scope()}
        return {**said, "exp": token.get_expires_at(), "iat": int(token.issued_at)}


class Validator(BearerTokenValidator):
    def authenticate_token(self, token_string):
        return find_token(token_string, "access_token")


class Issuer(IssuerParameter):
    def get_issuer(self):
        return issuer()


app = Flask(__name__)
app.secret_key = secrets.token_bytes(24)
server = AuthorizationServer(app, query_client=CLIENTS.get, save_token=save_token)
life = options.access_token_life
generator = BearerTokenGenerator(
    lambda **_: secrets.token_urlsafe(24),
    lambda **_: secrets.token_urlsafe(24),
    expires_generator=lambda client, grant_type: life,
)
server.register_token_generator("default", generator)
server.register_grant(AuthorizationCodeGrant, [CodeChallenge(required=True)])
for grant in (PasswordGrant, ClientCredentialsGrant, RefreshTokenGrant, StatementGrant, TokenExchangeGrant):
    server.register_grant(grant)
server.register_client_auth_method("private_key_jwt", StatementOfClient())
server.register_extension(Issuer())
server.register_endpoint(Revocation)
server.register_endpoint(Introspection)
protector = ResourceProtector()
protector.register_token_validator(Validator())


def issuer():
    return f"http://127.0.0.1:{listener.server_port}"


def audiences():
    return [issuer(), f"{issuer()}/token"]


def form(fields):
    return f'<form method="post">{fields}<button type="submit">Go on</button></form>'


@app.get("/.well-known/oauth-authorization-server")
def metadata():
    at = issuer()
    methods = RefreshTokenGrant.TOKEN_ENDPOINT_AUTH_METHODS
    document = AuthorizationServerMetadata({
        "issuer": at,
        "authorization_endpoint": f"{at}/authorize",
        "token_endpoint": f"{at}/token",
        "revocation_endpoint": f"{at}/revoke",
        "introspection_endpoint": f"{at}/introspect",
        "response_types_supported": ["code"],
        "grant_types_supported": [*CLIENTS["basic"].grant_types],
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": ["RS256"],
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": ["read", "write"],
        "authorization_response_iss_parameter_supported": True,
    })
    return jsonify(document)


@app.route("/login", methods=["GET", "POST"])
def login():
    if request.method == "GET":
        return form('<input name="username"><input type="password" name="password">')
    if (request.form["username"], request.form["password"]) != (USER, PASSWORD):
        return "wrong name or password", 403
    session["user"] = USER
    return redirect(session.pop("next", "/"))


@app.route("/authorize", methods=["GET", "POST"])
def authorize():
    user = session.get("user")
    if user is None:
        session["next"] = request.full_path
        return redirect("/login")
    try:
        grant = server.get_consent_grant(end_user=user)
    except OAuth2Error as error:
        return server.handle_error_response(None, error)
    if request.method == "GET":
        return form('<input type="hidden" name="consent" value="yes">')
    return server.create_authorization_response(grant=grant, grant_user=user)


@app.post("/token")
def token():
    # One at a time: what stands in memory has no transactions.
    with LOCK:
        kind = request.form.get("grant_type", "none")
        STATS["token_requests"] += 1
        STATS["by_grant"][kind] = STATS["by_grant"].get(kind, 0) + 1
        response = server.create_token_response()
        STATS["refused"] += response.status_code != 200
        return response


@app.post("/revoke")
def revoke():
    return server.create_endpoint_response("revocation")


@app.post("/introspect")
def introspect():
    return server.create_endpoint_response("introspection")


@app.get("/whoami")
@protector()
def whoami():
    return jsonify(sub=current_token.user, client_id=current_token.client_id, scope=current_token.get_scope())


@app.get("/stats")
def stats():
    return jsonify(STATS)


class Quiet(WSGIRequestHandler):
    def log_request(self, *_):
        pass


logging.getLogger("werkzeug").setLevel(logging.ERROR)
listener = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
threading.Thread(target=listener.serve_forever, daemon=True).start()
ready = {
    "issuer": issuer(),
    "stats": f"{issuer()}/stats",
    "redirect_uri": CALLBACK,
    "secrets": {name: client.secret for name, client in CLIENTS.items() if client.secret},
    "key": KEY.as_pem(private=True).decode(),
    "key_id": "key-1",
    "user": USER,
    "password": PASSWORD,
}
print(json.dumps(ready), flush=True)
sys.stdin.read()
