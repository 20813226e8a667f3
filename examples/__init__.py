"""An application that uses the service: a page, and a resource server behind it. No part of the service."""
