"""Both peers in one Django project, set up for production: PEERS_DSN names the database, PEERS_SECRET the key."""

import os
from urllib.parse import unquote, urlsplit

_at = urlsplit(os.environ["PEERS_DSN"])

DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
SECRET_KEY = os.environ["PEERS_SECRET"]
USE_TZ = True
ROOT_URLCONF = "bench.peers.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "rest_framework",
    "rest_framework_simplejwt",
    "rest_framework_simplejwt.token_blacklist",
    "oauth2_provider",
]
# What both need to refresh a token; sessions, messages and the admin would only cost them.
MIDDLEWARE = ["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _at.path.strip("/"),
        "USER": _at.username,
        "PASSWORD": unquote(_at.password or ""),
        "HOST": _at.hostname,
        "PORT": _at.port,
        # A connection for each thread of the server, for as long as the thread lives: faster here than the pool.
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": False,
    }
}
LOGGING_CONFIG = None
REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
}
SIMPLE_JWT = {"ROTATE_REFRESH_TOKENS": True, "BLACKLIST_AFTER_ROTATION": True}
OAUTH2_PROVIDER = {"ROTATE_REFRESH_TOKEN": True, "REFRESH_TOKEN_REUSE_PROTECTION": True}
