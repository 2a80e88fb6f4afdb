"""What is taken out of recorded text, and what stays readable."""

from __future__ import annotations

import pytest

from rye_telemetry.redact import redact_json, redact_named, redact_text

SECRETS = [
    "AKIA" + "IOSFODNN7EXAMPLE",
    "ghp_" + "a1B2" * 9,
    "github_pat_" + "x9" * 20,
    "glpat-" + "Zz12" * 5,
    "xoxb-" + "123456789012-abcdef",
    "sk-ant-api03-" + "Q" * 24,
    "sk_live_" + "4eC39HqLyjWD",
    "AIza" + "b" * 35,
    "npm_" + "k" * 36,
    "pypi-" + "AgEI" * 10,
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_of_a_known_shape_is_taken_out_wherever_it_stands(secret):
    text = redact_text(f"the call with {secret} was refused")
    assert secret not in text
    assert text == "the call with [redacted] was refused"


@pytest.mark.parametrize(
    ("text", "kept", "gone"),
    [
        ("login failed: password=hunter2hunter2", "login failed", "hunter2"),
        ('{"api_key": "abc def"}', "api_key", "abc def"),
        ("curl --token s3cr3tvalue http://x", "curl --token", "s3cr3tvalue"),
        ("GET https://user:pa55@host.example/x failed", "host.example/x failed", "pa55"),
        ("Authorization: Bearer abcdefgh12345", "Authorization", "abcdefgh12345"),
        ("DB_PASSWORD: swordfish", "DB_PASSWORD", "swordfish"),
        ("mail jane.doe@example.org bounced", "bounced", "jane.doe"),
    ],
)
def test_values_beside_a_telling_name_credentials_and_mail_are_taken_out(text, kept, gone):
    redacted = redact_text(text)
    assert kept in redacted
    assert gone not in redacted


@pytest.mark.parametrize(
    "text",
    [
        "exited with status 3",
        "ZeroDivisionError: division by zero",
        "tokenizer failed after 1200 tokens",
        "file not found: src/secret_santa/list.py, line 12",
        "passed 12 of 14 tests in 3.2 s",
        "timed out after 0.2 s",
        "a/b@v1.2 and deploy@2.0.1 are items, not addresses",
    ],
)
def test_ordinary_text_stays_as_it_is(text):
    assert redact_text(text, home="/home/jane") == text


def test_the_home_directory_becomes_a_tilde_and_a_longer_name_does_not():
    text = "/home/jane/x and /home/janet/y and /home/jane"
    assert redact_text(text, home="/home/jane") == "~/x and /home/janet/y and ~"


def test_a_value_under_a_secret_name_goes_whatever_it_looks_like():
    assert redact_named("password", "tree") == "[redacted]"
    assert redact_named("db.api-key", "tree") == "[redacted]"
    assert redact_named("tokens", "12") == "12"


def test_json_is_redacted_at_every_depth():
    value = {"a": [{"token": "t"}, "mail a@b.example now"], "n": 3}
    assert redact_json(value) == {"a": [{"token": "[redacted]"}, "mail [email] now"], "n": 3}
