"""`python -m examples.word_count`: counts, and compares with a plain loop."""

from collections import Counter
from typing import Any

from examples.terminal import gateway, watch
from examples.word_count.processors import WORD
from examples.word_count.text import paragraphs

JOB: dict[str, Any] = {
    "name": "word count",
    "chunk_size": 50,
    "processor": "count_words",
    "reducer": "most_frequent",
}


def main() -> None:
    """Send the paragraphs, wait, and print what came back."""
    with gateway() as client:
        job = watch(client, client.submit(JOB, items=paragraphs()))
    print(f"{job.state}: {job.items.total} paragraphs in {job.chunks.total} chunks")
    counted = job.result
    print(f"{counted['words']} words, {counted['different']} different ones")
    for word, count in counted["most_frequent"]:
        print(f"  {word:<10}{count:>6}")
    print(f"a plain loop says the same: {counted == plain_count()}")


def plain_count() -> dict[str, Any]:
    """The same without Fanfold: one loop over the whole text."""
    counts = Counter(WORD.findall("\n\n".join(paragraphs()).lower()))
    most = sorted(counts, key=lambda word: (-counts[word], word))[:10]
    return {
        "words": counts.total(),
        "different": len(counts),
        "most_frequent": [[word, counts[word]] for word in most],
    }


if __name__ == "__main__":
    main()
