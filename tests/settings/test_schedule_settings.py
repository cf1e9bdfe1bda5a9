"""What the node does by itself: the shape of `schedules`, and every fault at its place."""

from pathlib import Path

import pytest

from gateway.domain.errors import FaultsFound
from gateway.settings import Settings, load_settings


def load(folder: Path, *schedules: str) -> Settings:
    file = folder / "gateway.yaml"
    file.write_text("schedules:\n" + "".join(f"  - {{{one}}}\n" for one in schedules))
    return load_settings(file, {})


def test_schedules_of_every_task_are_read(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        'name: nightly, cron: "30 2 * * *", task: ingest, paths: [docs], tenant: acme, jitter_s: 600, catch_up: true',
        'name: weekly, cron: "0 4 * * MON", task: drift, questions: q.yaml, tenant: acme, days: 14',
        'name: rebuild, cron: "0 1 1 * *", task: index_build, chunker: window, target_chars: 800',
        'name: purge, cron: "0 5 L * *", task: retention_purge',
    )
    assert [one.task for one in settings.schedules] == ["ingest", "drift", "index_build", "retention_purge"]
    assert settings.schedules[0].paths == (Path("docs"),)
    assert [one.catch_up for one in settings.schedules] == [True, False, False, False]
    assert Settings().schedules == ()


@pytest.mark.parametrize(
    ("schedule", "code", "words"),
    [
        ('name: a, cron: "61 2 * * *", task: retention_purge', "SET028", "bad minute"),
        ('name: a, cron: "30 2 * *", task: retention_purge', "SET028", "4 fields"),
        ('name: a, cron: "0 30 2 * * *", task: retention_purge', "SET028", "6 fields"),
        ('name: a, cron: "0 0 30 2 *", task: retention_purge', "SET028", "bad day-of-month"),
        ('name: a, cron: "", task: retention_purge', "SET028", "0 fields"),
        ('name: a, cron: "0 2 * * *", task: ingest', "SET029", "needs `paths`"),
        ('name: a, cron: "0 2 * * *", task: index_build', "SET029", "`embedder`"),
        ('name: a, cron: "0 2 * * *", task: drift, questions: q.yaml', "SET029", "`tenant`"),
        ('name: a, cron: "0 2 * * *", task: retention_purge, days: 3', "SET029", "has no `days`"),
        ('name: a, cron: "0 2 * * *", task: ingest, paths: [d], questions: q', "SET029", "has no `questions`"),
        ('name: a, cron: "0 2 * * *", task: index_build, target_chars: 50', "SET029", "below 100"),
        ('name: A b, cron: "0 2 * * *", task: retention_purge', "", "has the wrong form"),
        ('name: a, cron: "0 2 * * *", task: reboot', "", "retention_purge"),
        ('name: a, cron: "0 2 * * *", task: retention_purge, jitter_s: -1', "", "0"),
    ],
)
def test_a_faulty_schedule_is_told_at_its_place(tmp_path: Path, schedule: str, code: str, words: str) -> None:
    with pytest.raises(FaultsFound) as caught:
        load(tmp_path, schedule)
    (fault,) = caught.value.faults
    assert fault.line == 2
    assert code in fault.code
    assert words in fault.message or words in str(fault)


def test_two_schedules_of_one_name_would_share_their_last_run(tmp_path: Path) -> None:
    with pytest.raises(FaultsFound, match="a second schedule is named `a`"):
        load(tmp_path, *['name: a, cron: "0 2 * * *", task: retention_purge'] * 2)
