"""The science of this project: ingest, split, features, model, evaluate, predict, serve."""
