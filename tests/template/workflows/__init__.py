"""Runs workflow files for real, with no GitHub: act, a bare repository and a fake of the API.

    with FakeGitHub(tmp_path / "hub") as hub:
        hub.push(project)                                # its HEAD becomes main of acme/widget
        run = hub_run(hub, "ci.yml", events.push(hub))   # workflows.runner.run
        assert run.results == {"code": "success", "pass": "success"}

        number = hub.open_pull(project, "tune")          # its HEAD becomes a branch and pull 1
        run = hub_run(hub, "ci.yml", events.pull_request(hub, number))
        assert hub.comments(number)[0]["body"].startswith("...")

``open_pull(..., fork=True)`` is a stranger's: its runs get a token that can only read.
``run.results``, ``run.log("job")``, ``run.summaries``, ``run.output("job", "step", "name")``,
``run.artifact("name")``, ``run.calls`` say what happened.
"""
