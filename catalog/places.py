"""The places of a lake's tables, none of which overlaps with another."""

from collections import Counter

from catalog.errors import AlreadyExistsError
from catalog.storage.location import Location


class Places:
    """The places that are taken, and how many lie in each folder at any depth."""

    def __init__(self) -> None:
        self._taken: dict[tuple[str, ...], str] = {}
        self._within: Counter[tuple[str, ...]] = Counter()

    def claim(self, location: Location, owner: str) -> None:
        """Take a place that overlaps with none that is taken, or raise AlreadyExistsError."""
        *above, place = location.lineage()
        if self._within[place]:
            depth = len(place)
            other = next(name for key, name in self._taken.items() if key[:depth] == place)
        else:
            other = next((self._taken[key] for key in above if key in self._taken), "")
        if other:
            raise AlreadyExistsError(
                f"the location of {owner}, {location.uri}, overlaps with that of {other}",
                next_step="Use a folder that neither holds nor lies in another table's",
                name=owner,
                location=location.uri,
                other=other,
            )
        self.occupy(location, owner)

    def occupy(self, location: Location, owner: str) -> None:
        """Take a place that was taken before."""
        lineage = list(location.lineage())
        self._taken[lineage[-1]] = owner
        self._within.update(lineage)

    def release(self, location: Location) -> None:
        """Give a place back."""
        lineage = list(location.lineage())
        del self._taken[lineage[-1]]
        self._within.subtract(lineage)
