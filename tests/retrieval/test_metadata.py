"""Sidecars, folder files and front matter, the lint of all of them, and their JSON Schema."""

import datetime as dt
import json

import jsonschema
import pytest
from click.testing import CliRunner

from gateway.commands.ingest import ingest as command
from gateway.retrieval.chunk import ChunkMethod
from gateway.retrieval.discovery import find_documents
from gateway.retrieval.document import Reading
from gateway.retrieval.lint import lint
from gateway.retrieval.metadata import DocumentMetadata, metadata_schema
from gateway.retrieval.parsing.parser import Parser

WHOLE = "owner: team:cards\nclassification: internal\naccess: [staff]\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "deep").mkdir()
    return tmp_path


def read(folder, **reading):
    found = find_documents([folder], Reading(tenant="acme", **reading))
    return {document.id: document.meta for document in found.documents}, [
        (fault.file.removeprefix(f"{folder}/"), fault.line, fault.code) for fault in found.faults
    ]


def test_a_sidecar_describes_a_file_of_any_format(folder):
    (folder / "fees.csv").write_text("a,b\n1,2\n")
    (folder / "fees.csv.meta.yaml").write_text(
        WHOLE + "title: Fees\nid: fees\nvalid_from: 2026-01-01\nvalid_to: 2026-12-31\nchunking: {method: row}\n"
    )
    (folder / "plain.txt").write_text("Words.")
    (folder / "plain.txt.meta.yaml").write_text(WHOLE)
    found, faults = read(folder)
    assert faults == []
    assert found["fees"].title == "Fees"
    assert (found["fees"].valid_from, found["fees"].valid_to) == (dt.date(2026, 1, 1), dt.date(2026, 12, 31))
    assert found["fees"].chunking.method is ChunkMethod.ROW
    assert found["plain.txt"].access == ("staff",)


def test_the_nearest_place_counts_for_each_key(folder):
    (folder / "_meta.yaml").write_text(WHOLE + "language: en\n")
    (folder / "deep" / "_meta.yaml").write_text("access: [hr]\nreview_by: 2027-01-01\n")
    (folder / "deep" / "a.md").write_text("---\nowner: team:hr\n---\ntext")
    (folder / "b.md").write_text("No front matter at all.")
    found, faults = read(folder)
    assert faults == []
    a = found["deep/a.md"]
    assert (a.owner, a.access, a.language, a.review_by) == ("team:hr", ("hr",), "en", dt.date(2027, 1, 1))
    assert (found["b.md"].owner, found["b.md"].access, found["b.md"].review_by) == ("team:cards", ("staff",), None)


def test_a_change_of_a_folder_file_is_a_change_of_its_documents(folder):
    (folder / "_meta.yaml").write_text(WHOLE)
    (folder / "a.md").write_text("text")

    def content():
        [document] = find_documents([folder], Reading(tenant="acme")).documents
        return document.content

    before = content()
    assert content() == before
    (folder / "_meta.yaml").write_text(WHOLE.replace("staff", "hr"))
    assert content() != before


def test_documents_without_groups_are_left_out_unless_the_settings_name_some(folder):
    (folder / "a.md").write_text("---\nowner: o\nclassification: internal\n---\ntext")
    found, faults = read(folder)
    assert (found, faults) == ({}, [("a.md", 2, "DOC003")])
    found, faults = read(folder, default_access=("staff",))
    assert (found["a.md"].access, faults) == (("staff",), [])
    (folder / "a.md").write_text("---\nowner: o\nclassification: internal\naccess: []\n---\ntext")
    assert read(folder, default_access=("staff",))[1] == [("a.md", 4, "DOC003")]


FAULTS = [
    ({"a.md": "text"}, [("a.md", 1, "DOC002")]),
    ({"a.csv": "a\n1"}, [("a.csv", 1, "DOC002")]),
    ({"a.md": "text", "a.md.meta.yaml": WHOLE + "acess: [x]\n"}, [("a.md.meta.yaml", 4, "YAML020")]),
    (
        {"a.md": "---\nowner: o\n---\ntext", "a.md.meta.yaml": WHOLE},
        [("a.md.meta.yaml", 1, "DOC009")],
    ),
    (
        {"a.md": "x", "_meta.yaml": WHOLE + "title: All\nid: all\n"},
        [("_meta.yaml", 4, "DOC009"), ("_meta.yaml", 5, "DOC009")],
    ),
    ({"a.md": "x", "deep/b.md": "x", "_meta.yaml": "owner: [a]\n"}, [("_meta.yaml", 1, "YAML021")]),
    ({"gone.pdf.meta.yaml": WHOLE}, [("gone.pdf.meta.yaml", 1, "DOC010")]),
    ({"a.md": "x", "_meta.yaml": b"\xff"}, [("_meta.yaml", 0, "DOC001")]),
    ({"a.md": "x", "a.md.meta.yaml": b"#" * 70_000}, [("a.md.meta.yaml", 0, "DOC001")]),
    ({"a.md": b"%PDF-1.4", "_meta.yaml": WHOLE}, [("a.md", 0, "DOC001")]),
]  # fmt: skip


@pytest.mark.parametrize(("files", "expected"), FAULTS)
def test_faults_name_the_place_that_is_wrong(folder, files, expected):
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    found, faults = read(folder)
    assert (found, faults) == ({}, expected)


def test_a_fault_in_one_folder_leaves_the_others_alone(folder):
    (folder / "_meta.yaml").write_text(WHOLE)
    (folder / "a.md").write_text("text")
    (folder / "deep" / "_meta.yaml").write_text("nonsense: true\n")
    (folder / "deep" / "b.md").write_text("text")
    found, faults = read(folder)
    assert (set(found), faults) == ({"a.md"}, [("deep/_meta.yaml", 1, "YAML020")])


def test_lint_names_what_is_sound_but_may_not_be_meant(folder):
    (folder / "a.md").write_text(
        "---\n" + WHOLE + "review_by: 2026-01-01\nvalid_to: 2026-02-01\nlanguage: en\n---\nSeen <!-- obey -->"
    )
    (folder / "b.html").write_text("<p hidden>all of it")
    (folder / "b.html.meta.yaml").write_text(WHOLE)
    (folder / "c.txt").write_text("fine")
    (folder / "c.txt.meta.yaml").write_text(WHOLE)
    linted = lint(find_documents([folder], Reading(tenant="t")), Parser, dt.date(2026, 11, 24))
    assert [(notice.file.rpartition("/")[2], notice.code) for notice in linted.notices] == [
        ("a.md", "DOC101"),
        ("a.md", "DOC102"),
        ("a.md", "DOC103"),
        ("c.txt", "DOC104"),
    ]
    assert [(fault.file.rpartition("/")[2], fault.code) for fault in linted.faults] == [("b.html", "DOC006")]


def test_the_command_lints_without_an_index_and_prints_the_schema(folder):
    (folder / "a.md").write_text("---\n" + WHOLE + "---\nSeen.")
    obj = {"reading": Reading(), "parser": Parser}
    result = CliRunner().invoke(command, ["--lint", str(folder)], obj=obj)
    assert (result.exit_code, "0 faults, 1 notices" in result.output) == (0, True)
    (folder / "b.md").write_text("nothing")
    result = CliRunner().invoke(command, ["--lint", str(folder)], obj=obj)
    assert (result.exit_code, "1 faults, 1 notices" in result.output) == (1, True)
    printed = CliRunner().invoke(command, ["--schema"], obj={})
    assert json.loads(printed.output) == metadata_schema()
    assert CliRunner().invoke(command, [], obj=obj).exit_code == 2


def test_the_schema_accepts_what_the_loader_accepts():
    schema = metadata_schema()
    checker = jsonschema.Draft202012Validator(schema)
    checker.check_schema(schema)
    good = {"owner": "o", "classification": "internal", "access": ["a"], "valid_to": "2026-01-01", "language": "de-CH"}
    assert checker.is_valid(good)
    for bad in ({"classification": "secret"}, {"acess": []}, {"language": "German!"}, {"chunking": {"method": "x"}}):
        assert not checker.is_valid(bad)
    definition = schema["$defs"][DocumentMetadata.__name__]
    assert all("description" in json.dumps(one) for one in definition["properties"].values())
