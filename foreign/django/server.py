"""Django OAuth Toolkit on a loopback port that the system chooses. Every refresh token is good once, but its
predecessor may be presented again for --grace seconds and brings the same answer; after that a second presentation ends
the grant. One JSON line on stdout says where it is and who its clients are; it ends with its standard input. All is held
in memory.

    python server.py [--grace SECONDS] [--access-token-life SECONDS]

    GET /stats     what the token endpoint has seen, and how many refresh tokens are good
    GET /whoami    wants a token: what an API would do
    POST /later    as if the moments at which tokens were replaced lay so many seconds further back
"""

import argparse
import json
import logging
import secrets
import socketserver
import sys
import threading
from datetime import timedelta
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import include, path

arguments = argparse.ArgumentParser()
arguments.add_argument("--grace", type=int, default=120)
arguments.add_argument("--access-token-life", type=int, default=3600)
options = arguments.parse_args()

CALLBACK = "http://127.0.0.1/callback"
USER, PASSWORD = "ada", secrets.token_urlsafe(12)
LOGIN = '<form method="post">{% csrf_token %}{{ form }}<button type="submit">Go on</button></form>'
APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "oauth2_provider"]

settings.configure(
    SECRET_KEY=secrets.token_urlsafe(32),
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=APPS,
    # The tables are made from the models at once, and not by years of migrations.
    MIGRATION_MODULES={app.rsplit(".", 1)[-1]: None for app in APPS},
    DATABASES={
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "file:perennial?mode=memory&cache=shared"}
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
    STATIC_URL="/static/",
    LOGIN_URL="/login/",
    # Nobody's password: slow hashes protect nothing here.
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "loaders": [
                    ("django.template.loaders.locmem.Loader", {"registration/login.html": LOGIN}),
                    "django.template.loaders.app_directories.Loader",
                ],
                "context_processors": ["django.template.context_processors.request"],
            },
        }
    ],
    OAUTH2_PROVIDER={
        "SCOPES": {"read": "Reading", "write": "Writing"},
        "DEFAULT_SCOPES": ["read"],
        "ACCESS_TOKEN_EXPIRE_SECONDS": options.access_token_life,
        "ROTATE_REFRESH_TOKEN": True,
        "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": options.grace,
        "REFRESH_TOKEN_REUSE_PROTECTION": True,
        "ALLOWED_SCHEMES": ["http", "https"],
        "ALLOW_LOCALHOST_LOOPBACK": True,
        "COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT": True,
        "COMPLIANT_BCP_RFC9700_PKCE_METHOD": True,
        "COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS": True,
        "COMPLIANT_BCP_RFC9700_ACCESS_TOKEN_TRANSPORT": True,
    },
)
logging.disable(logging.ERROR)
django.setup()

from django.contrib.auth.models import User
from django.contrib.auth.views import LoginView
from django.core.management import call_command
from django.db import connection
from django.db.models import F
from django.views.decorators.csrf import csrf_exempt
from oauth2_provider.models import Application, RefreshToken
from oauth2_provider.views.generic import ProtectedResourceView

# ---- what has happened ----

STATS = {"token_requests": 0, "by_grant": {}, "refreshes": 0, "refused": 0}


def count(view):
    def counted(request):
        kind = request.POST.get("grant_type", "none")
        response = view(request)
        STATS["token_requests"] += 1
        STATS["by_grant"][kind] = STATS["by_grant"].get(kind, 0) + 1
        STATS["refused"] += response.status_code != 200
        STATS["refreshes"] += response.status_code == 200 and kind == "refresh_token"
        return response

    return csrf_exempt(counted)


def stats(request):
    return JsonResponse({**STATS, "good_refresh_tokens": RefreshToken.objects.filter(revoked=None).count()})


@csrf_exempt
def later(request):
    past = timedelta(seconds=int(request.POST["seconds"]))
    return JsonResponse({"moved": RefreshToken.objects.exclude(revoked=None).update(revoked=F("revoked") - past)})


class Whoami(ProtectedResourceView):
    def get(self, request):
        return JsonResponse({"sub": request.resource_owner and request.resource_owner.username})


def urls():
    from oauth2_provider import urls as toolkit
    from oauth2_provider.views import TokenView

    own = [
        path("token/", count(TokenView.as_view())),
        path("stats", stats),
        path("later", later),
        path("whoami", Whoami.as_view()),
        path("login/", LoginView.as_view()),
    ]
    return [*own, path("", include(toolkit))]


urlpatterns = urls()


# ---- who may ask ----


def fill():
    call_command("migrate", run_syncdb=True, verbosity=0)
    User.objects.create_user(USER, password=PASSWORD)
    code, app = Application.GRANT_AUTHORIZATION_CODE, Application.GRANT_CLIENT_CREDENTIALS
    kinds = {
        "web": (Application.CLIENT_CONFIDENTIAL, code),
        "public": (Application.CLIENT_PUBLIC, code),
        "app": (Application.CLIENT_CONFIDENTIAL, app),
        "password": (Application.CLIENT_CONFIDENTIAL, Application.GRANT_PASSWORD),
    }
    known = {}
    for name, (kind, grant) in kinds.items():
        secret = "" if kind == Application.CLIENT_PUBLIC else secrets.token_urlsafe(24)
        known.update({name: secret} if secret else {})
        Application.objects.create(
            client_id=name,
            client_secret=secret,
            hash_client_secret=False,
            client_type=kind,
            authorization_grant_type=grant,
            redirect_uris=CALLBACK,
        )
    return known


# ---- its life ----


class Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


def serve():
    django_application, lock = get_wsgi_application(), threading.Lock()

    def one_at_a_time(environ, start_response):
        # The database of a process's memory has no patience with two writers.
        with lock:
            return django_application(environ, start_response)

    listener = make_server("127.0.0.1", 0, one_at_a_time, server_class=Server, handler_class=Quiet)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{listener.server_port}"


if __name__ == "__main__":
    known = fill()
    # While this connection is open the database lives.
    connection.ensure_connection()
    issuer = serve()
    ready = {
        "issuer": issuer,
        "stats": f"{issuer}/stats",
        "redirect_uri": CALLBACK,
        "secrets": known,
        "user": USER,
        "password": PASSWORD,
    }
    print(json.dumps(ready), flush=True)
    sys.stdin.read()
