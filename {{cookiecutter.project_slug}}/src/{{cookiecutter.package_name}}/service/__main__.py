"""``python -m src.… .service``: the service in one process, as production runs it.

No supervisor stands above: when the process dies, the engine that runs the container starts it
anew. Replicas are the engine's, too.
"""

from . import server

if __name__ == "__main__":
    server.main()
