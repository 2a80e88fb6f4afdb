"""What is said of a commit when a run is linked to it: the lines, and who is taken to have made it."""

from __future__ import annotations

from rye_telemetry.errors import InvalidRecord
from rye_telemetry.model import COMMIT_SOURCES, MAX_LABEL, clean_text, is_run_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rye_telemetry.commits import Commit
    from rye_telemetry.model import Fields

    Line = tuple[str, Fields]

TRAILER = "Rye-Run"
# Set by the services themselves; CI alone is what the rest agree on.
CI_VARIABLES = (
    "CI",
    "GITHUB_ACTIONS",
    "GITLAB_CI",
    "BUILDKITE",
    "JENKINS_URL",
    "TEAMCITY_VERSION",
    "TF_BUILD",
    "CIRCLECI",
)
_NOT_CI = ("", "0", "false", "no", "off")
# As agents sign commits, in the author or in a trailer: names, and the addresses that are theirs alone.
_AGENT_NAMES = frozenset(
    (
        "aider",
        "amp",
        "claude",
        "claude code",
        "cline",
        "codex",
        "copilot",
        "crush",
        "cursor",
        "cursor agent",
        "devin",
        "devin ai",
        "gemini",
        "gemini cli",
        "github copilot",
        "goose",
        "jules",
        "junie",
        "kilo code",
        "openai codex",
        "opencode",
        "openhands",
        "qwen code",
        "roo code",
        "windsurf",
        "zed agent",
    )
)
_AGENT_ADDRESSES = (
    "noreply@anthropic.com",
    "claude@anthropic.com",
    "noreply@aider.chat",
    "aider@aider.chat",
    "noreply@openai.com",
    "codex@openai.com",
    "chatgpt-codex-connector[bot]",
    "cursoragent@",
    "agent@cursor.com",
    "devin-ai-integration",
    "gemini-cli[bot]",
    "gemini-code-assist[bot]",
    "google-labs-jules",
    "openhands@all-hands.dev",
    "copilot@github.com",
    "+copilot@users.noreply.github.com",
    "copilot-swe-agent",
    "amp@ampcode.com",
)
_SIGNING_TRAILERS = (
    "co-authored-by",
    "assisted-by",
    "generated-by",
    "generated-with",
    "co-developed-by",
    "agent",
    "ai-agent",
)


def check_source(source: object) -> str:
    if source not in COMMIT_SOURCES:
        raise InvalidRecord(f"commit source {source!r} is unknown: use one of {', '.join(COMMIT_SOURCES)}")
    return str(source)


def check_author(author: object) -> str:
    """Return `NAME <MAIL>` as it is kept; InvalidRecord when it is something else."""
    text = " ".join(str(author).split())
    name, opened, mail = text.partition("<")
    if not (name.strip() and opened and mail.endswith(">") and mail[:-1].strip() and "<" not in mail):
        raise InvalidRecord(f'author {text!r} is not "NAME <MAIL>": write for example "Ada Lovelace <ada@example.org>"')
    return clean_text(text, MAX_LABEL)


def guess_source(commit: Commit, env: Mapping[str, str]) -> str:
    """Return ci in a CI environment, llm where an agent is named as author or in a trailer, else manual."""
    if any(env.get(name, "").lower() not in _NOT_CI for name in CI_VARIABLES):
        return "ci"
    signed = [commit.author, *(value for name, value in trailers(commit.message) if name.lower() in _SIGNING_TRAILERS)]
    return "llm" if any(names_agent(text) for text in signed) else "manual"


def names_agent(text: str) -> bool:
    """Say whether `NAME <MAIL>`, or a name alone, is that of a coding agent; a person may be called Claude Monet."""
    name, _, mail = text.lower().partition("<")
    name = name.strip().removesuffix("[bot]").strip()
    if not mail and ":" in name:
        name = name.partition(":")[0].strip()  # `Assisted-by: Claude:model`
    if name.endswith("(aider)"):
        return True
    plain = name.partition("(")[0].strip()  # `Claude (model) <…>`
    model = " ".join(word for word in plain.split() if not any(sign.isdigit() for sign in word))
    stems = {
        plain,
        model,
        *(model.removesuffix(tier).strip() for tier in (" opus", " sonnet", " haiku", " pro", " flash")),
    }
    by_mail = any(address in mail for address in _AGENT_ADDRESSES)
    if by_mail:
        return True
    is_agents = not mail or "noreply" in mail or "no-reply" in mail or "bot" in mail or "agent" in mail
    return is_agents and not stems.isdisjoint(_AGENT_NAMES)


def trailers(message: str) -> list[tuple[str, str]]:
    """Return (name, value) of every line of the form of a trailer, anywhere in the message: a squash buries them."""
    found = []
    for line in message.splitlines():
        name, colon, value = line.strip().partition(":")
        if colon and name and value.strip() and " " not in name and name.replace("-", "").isalnum():
            found.append((name, value.strip()))
    return found


def named_runs(message: str) -> list[str]:
    """Return the run ids of the `Rye-Run` trailers, each once."""
    return list(
        dict.fromkeys(value for name, value in trailers(message) if name.lower() == "rye-run" and is_run_id(value))
    )


def link_line(  # noqa: PLR0913 (one parameter a field)
    run_id: str,
    commit_hash: str,
    *,
    repo: str | None,
    evidence: str,
    source: str | None,
    author: str | None,
    linked_at: str,
    from_commit: str | None = None,
    contested_by: Iterable[str] = (),
    action: str | None = None,
) -> Line:
    fields = {
        "run_id": run_id,
        "commit_hash": commit_hash,
        "repo": repo,
        "evidence": evidence,
        "commit_source": source,
        "commit_author": None if author is None else clean_text(author, MAX_LABEL),
        "linked_at": linked_at,
        "from_commit": from_commit,
        "contested_by": list(contested_by) or None,
        "action": action,
    }
    return "link", fields


def commit_line(commit: Commit, *, repo: str | None, branch: str | None, patch_id: str | None) -> Line:
    facts = {
        "commit_hash": commit.commit_hash,
        "repo": repo,
        "branch": branch,
        "parents": commit.parents,
        "tree": commit.tree,
        "parent_tree": commit.parent_tree,
        "patch_id": patch_id,
    }
    return "commit", facts


def is_linked(known: Iterable[Fields], run_id: str, *, source: str | None, author: str | None) -> bool:
    """Say whether exactly this link was said before."""
    return any(
        link["run_id"] == run_id
        and "explicit" in link["all_evidence"]
        and link["commit_source"] == source
        and link["commit_author"] == (None if author is None else clean_text(author, MAX_LABEL))
        for link in known
    )
