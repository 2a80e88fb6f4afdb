"""Who is taken to have made a commit, which runs its message names, and the lines that say so."""

from __future__ import annotations

import pytest

from rye_telemetry.commits import Commit
from rye_telemetry.errors import InvalidRecord
from rye_telemetry.lines import new_run_id
from rye_telemetry.linking import (
    check_author,
    check_source,
    commit_line,
    guess_source,
    is_run_id,
    link_line,
    named_runs,
    names_agent,
    trailers,
)

PERSON = "Ada Lovelace <ada@example.org>"
AGENTS = [
    "Claude <noreply@anthropic.com>",
    "Claude Code <noreply@anthropic.com>",
    "Claude Opus 4.5 <noreply@anthropic.com>",
    "Claude Sonnet 4 <noreply@anthropic.com>",
    "Claude Haiku 4.5 <noreply@anthropic.com>",
    "Claude Opus 4.6 (1M context) <noreply@anthropic.com>",
    "claude[bot] <209825114+claude[bot]@users.noreply.github.com>",
    "GitHub Copilot <copilot@github.com>",
    "Copilot <223556219+Copilot@users.noreply.github.com>",
    "Copilot <175728472+Copilot@users.noreply.github.com>",
    "copilot-swe-agent[bot] <198982749+Copilot@users.noreply.github.com>",
    "copilot-swe-agent[bot] <198982749+copilot-swe-agent[bot]@users.noreply.github.com>",
    "Codex <codex@openai.com>",
    "Codex <noreply@openai.com>",
    "OpenAI Codex <noreply@openai.com>",
    "chatgpt-codex-connector[bot] <199175422+chatgpt-codex-connector[bot]@users.noreply.github.com>",
    "Cursor Agent <cursoragent@cursor.com>",
    "Cursor <cursoragent@cursor.com>",
    "aider (gpt-4o) <noreply@aider.chat>",
    "aider (claude-3-5-sonnet) <aider@aider.chat>",
    "Gemini CLI <noreply@google.com>",
    "gemini-code-assist[bot] <176961590+gemini-code-assist[bot]@users.noreply.github.com>",
    "gemini-cli[bot] <218195315+gemini-cli[bot]@users.noreply.github.com>",
    "Devin AI <158243242+devin-ai-integration[bot]@users.noreply.github.com>",
    "devin-ai-integration[bot] <158243242+devin-ai-integration[bot]@users.noreply.github.com>",
    "google-labs-jules[bot] <161369871+google-labs-jules[bot]@users.noreply.github.com>",
    "Jules <jules@noreply.google.com>",
    "openhands <openhands@all-hands.dev>",
    "Amp <amp@ampcode.com>",
    "opencode <noreply@opencode.ai>",
    "Qwen Code <noreply@alibaba.com>",
    "Claude",
    "Claude Code",
    "GitHub Copilot",
    "GEMINI CLI",
]
PEOPLE = [
    PERSON,
    "Claude Monet <claude@monet.fr>",
    "Claude <claude@monet.fr>",
    "Claude Shannon <cs@bell-labs.com>",
    "Jules <jules@example.com>",
    "Jules Verne <12345+jules@users.noreply.github.com>",
    "Claude Dupont <99+cdupont@users.noreply.github.com>",
    "Devin Booker <devin@suns.com>",
    "Devin <devin@example.com>",
    "Gemini Ganesan <gg@isi.edu>",
    "Cody <cody@example.com>",
    "Cursor Smith <c@example.com>",
    "Goose <goose@example.com>",
    "Amp Lifier <amp@example.net>",
    "Agent Smith <smith@agents.example.com>",
    "Robot Person <bot@example.com>",
    "dependabot[bot] <49699333+dependabot[bot]@users.noreply.github.com>",
    "github-actions[bot] <41898282+github-actions[bot]@users.noreply.github.com>",
    "renovate[bot] <29139614+renovate[bot]@users.noreply.github.com>",
    "GitHub <noreply@github.com>",
    "Ada <ada@anthropic.com>",
    "Ada <ada@openai.com>",
    "Ada <ada@cursor.com>",
    "Paul <paul@aider.chat>",
    "Junie Cortes",
    "",
    "<>",
    "<a@b>",
]


def commit(author=PERSON, message="message\n"):
    raw = f"tree 1\nauthor {author} 1 +0000\ncommitter {PERSON} 1 +0000\n\n{message}"
    return Commit("f" * 40, raw.encode())


@pytest.mark.parametrize("author", AGENTS)
def test_an_agent_is_known_by_its_signature(author):
    assert names_agent(author)
    assert guess_source(commit(message=f"Do it\n\nBody.\n\nCo-authored-by: {author}\n"), {}) == "llm"
    if "<" in author:
        assert guess_source(commit(author), {}) == "llm"


@pytest.mark.parametrize("author", PEOPLE)
def test_a_person_is_no_agent_whatever_the_name(author):
    assert not names_agent(author)
    assert guess_source(commit(message=f"Do it\n\nCo-authored-by: {author}\n"), {}) == "manual"
    if "<" in author:
        assert guess_source(commit(author), {}) == "manual"


@pytest.mark.parametrize(
    "trailer",
    [
        "Co-authored-by: Claude <noreply@anthropic.com>",
        "co-authored-by: Claude <noreply@anthropic.com>",
        "Co-Authored-By: Claude Code <noreply@anthropic.com>",
        "Assisted-by: Claude Code",
        "Generated-by: GitHub Copilot",
        "Co-developed-by: Codex <codex@openai.com>",
        "  Co-authored-by: Claude <noreply@anthropic.com>  ",
    ],
)
def test_an_agent_may_stand_in_any_signing_trailer(trailer):
    assert (
        guess_source(commit(message=f"one\n\n{trailer}\nSigned-off-by: {PERSON}\n\nBuried by a squash.\n"), {}) == "llm"
    )


@pytest.mark.parametrize(
    "message",
    [
        "Talk about Claude\n\nClaude said so.\n",
        "Reviewed\n\nReviewed-by: Claude <noreply@anthropic.com>\n",
        "Claude: noreply@anthropic.com\n",
        "Signed\n\nSigned-off-by: Ada <ada@example.org>\n",
        "Co-authored-by:\n",
        "",
    ],
)
def test_an_agent_that_is_spoken_of_has_not_made_the_commit(message):
    assert guess_source(commit(message=message), {}) == "manual"


@pytest.mark.parametrize(
    ("env", "source"),
    [
        ({"CI": "true"}, "ci"),
        ({"CI": "1"}, "ci"),
        ({"GITHUB_ACTIONS": "true"}, "ci"),
        ({"GITLAB_CI": "true"}, "ci"),
        ({"JENKINS_URL": "https://ci.example.org/"}, "ci"),
        ({"TF_BUILD": "True"}, "ci"),
        ({"BUILDKITE": "true"}, "ci"),
        ({"CIRCLECI": "true"}, "ci"),
        ({"TEAMCITY_VERSION": "2024.1"}, "ci"),
        ({"CI": "false"}, "manual"),
        ({"CI": "False"}, "manual"),
        ({"CI": "0"}, "manual"),
        ({"CI": ""}, "manual"),
        ({"CI": "no"}, "manual"),
        ({"CIRCLE": "true"}, "manual"),
        ({}, "manual"),
    ],
)
def test_a_ci_environment_says_so_by_its_variables(env, source):
    assert guess_source(commit(), env) == source


def test_in_ci_an_agents_commit_is_ci_s():
    assert guess_source(commit("Claude <noreply@anthropic.com>"), {"CI": "1"}) == "ci"


def test_trailers_are_found_anywhere_and_in_any_line_ending():
    message = (
        "subject: no\r\n\r\nA-b: 1\r\n\ntext with: colon\nsee http://x: no\n\n  C: 2\n: 3\nD:\n-: 4\nE-F-9: g: h\n"
    )
    assert trailers(message) == [("subject", "no"), ("A-b", "1"), ("C", "2"), ("E-F-9", "g: h")]


def test_runs_are_named_once_each_in_their_order():
    one, two = new_run_id(1_800_000_000_000_000_000), new_run_id(1_800_000_001_000_000_000)
    message = f"x\n\nRye-Run: {two}\n\nsquashed\n\n    rye-run: {one}\nRye-Run: {two}\nRye-Run: nonsense\nRye-Run-Not: {one}\n"
    assert named_runs(message) == [two, one]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "0" * 36,
        "g" * 8 + "-0000-0000-0000-" + "0" * 12,
        "00000000-0000-0000-0000-00000000000A",
        "../../../../etc-0000-0000-0000-000000000000",
    ],
)
def test_what_is_no_run_id_is_none(text):
    assert not is_run_id(text)


@pytest.mark.parametrize(
    "author", ["", "Ada", "<a@b>", "Ada <>", "Ada <a@b", "Ada a@b>", "A <b> <c>", "A <a@b> x", None, 3]
)
def test_an_author_has_a_name_and_an_address(author):
    with pytest.raises(InvalidRecord, match="write for example"):
        check_author(author)


def test_an_authors_spaces_are_made_one():
    assert check_author("  Ada\n  Lovelace  <ada@example.org> ") == "Ada Lovelace <ada@example.org>"


@pytest.mark.parametrize("source", ["", "LLM", "human", None, 1, [], "llm "])
def test_a_source_is_one_of_three(source):
    with pytest.raises(InvalidRecord, match="manual"):
        check_source(source)
    assert [check_source(known) for known in ("manual", "llm", "ci")] == ["manual", "llm", "ci"]


def test_a_link_says_nothing_of_what_it_does_not_know():
    kind, fields = link_line("r", "c", repo=None, evidence="hook", source=None, author=None, linked_at="now")
    assert kind == "link"
    assert {name for name, value in fields.items() if value is not None} == {
        "run_id",
        "commit_hash",
        "evidence",
        "linked_at",
    }


def test_a_commits_facts_are_those_of_its_object():
    kind, fields = commit_line(commit(), repo="/r", branch="main", patch_id=None)
    assert kind == "commit"
    assert fields == {
        "commit_hash": "f" * 40, "repo": "/r", "branch": "main", "parents": [], "tree": "1", "parent_tree": None, "patch_id": None,
    }  # fmt: skip
