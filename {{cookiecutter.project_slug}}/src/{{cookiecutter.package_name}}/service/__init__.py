"""The service: predictions of the blessed model over HTTP.

``app`` answers requests, ``inputs`` says what a request may hold, ``predictor`` runs the model,
``access`` asks for keys, ``numbers`` counts, ``bento`` is what BentoML packs.
``precomputed`` looks up what a batch predicted. ``direct`` does without a server.
"""
