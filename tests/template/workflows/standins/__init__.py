"""What stands in for the actions of GitHub; each module is run by a composite action.

They keep their things under ``$HARNESS_HUB`` and follow the real actions where a workflow can
tell the difference: outputs, failures, which paths an artifact holds, which caches a branch sees.
"""
