"""``python -m gatehouse.serving``: the project of this folder, in one process, as in production.

No supervisor stands above: when the process dies, the engine that runs the container starts it
anew. Replicas are the engine's, too.
"""

from gatehouse.core.hooks import on_path
from gatehouse.core.project import Project

from . import server

if __name__ == "__main__":
    on_path(Project())  # a model may be of a class of the user's own
    server.main()
