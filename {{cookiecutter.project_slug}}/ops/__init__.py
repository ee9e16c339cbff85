"""The machinery: checks, gates, report, release, deploy and monitor."""
