"""Adds up objects of counts."""

from collections import Counter

from fanfold.processing import ValidationError, example


@example(
    {
        "items": [{"country": "FI"}, {"country": "SE"}],
        "chunk_size": 1,
        "processor": "count_by",
        "options": {"field": "country"},
    }
)
class MergeCounts:
    """Merge objects of counts into one, the counts added up, its keys in alphabetical order."""

    name = "merge_counts"

    def __init__(self) -> None:
        """Start with no counts."""
        self._counts: Counter[str] = Counter()

    def add(self, index: int, result: object) -> None:
        """See Reducer.add; raises ValidationError where a result is no object of numbers."""
        if not isinstance(result, dict):
            raise ValidationError(f"the result of chunk {index} is not an object of counts")
        for key, count in result.items():
            if not isinstance(count, int | float) or isinstance(count, bool):
                raise ValidationError(f"a count in the result of chunk {index} is not a number")
            self._counts[key] += count  # type: ignore[assignment]  # fractions count too

    def result(self) -> dict[str, int]:
        """See Reducer.result."""
        return dict(sorted(self._counts.items()))
