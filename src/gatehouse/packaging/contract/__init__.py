"""What a running service is held to, by golden requests and its OpenAPI page."""
