"""The two routes that are measured: each peer's own view."""

from django.urls import path
from oauth2_provider.views import TokenView
from rest_framework_simplejwt.views import TokenRefreshView

urlpatterns = [path("oauth/", TokenView.as_view()), path("jwt/", TokenRefreshView.as_view())]
