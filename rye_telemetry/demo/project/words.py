"""Count the words of a text."""

from __future__ import annotations

import sys
from collections import Counter


def count_words(text: str) -> Counter[str]:
    """Return how often each word stands in the text, in whatever case.

    >>> count_words("One fish, two fish")["fish"]
    2
    """
    return Counter(word.strip(".,:;!?").lower() for word in text.split())


if __name__ == "__main__":
    for word, count in count_words(sys.stdin.read()).most_common(10):
        sys.stdout.write(f"{count:5} {word}\n")
