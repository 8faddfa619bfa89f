"""The catalog of a lake: names, layers and lake-wide facts, in the lake's own storage.

Every change is one new document, written with put-if-absent on top of the state it was made
from: a compare-and-swap that any number of processes may attempt. Who loses looks at the new
state and tries again.
"""

import getpass
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from catalog import changes as change
from catalog import storage as room
from catalog.changes import FOLDER, KEEP, Keep, apply, describe
from catalog.document import decode, decode_change, encode
from catalog.errors import ConflictError, CorruptionError, NotFoundError
from catalog.fitness import Fitness, Probing
from catalog.journal import Backoff, Journal
from catalog.state import CatalogChange, CatalogState, LayerEntry, TableEntry, ViewEntry
from catalog.storage import Storage
from catalog.storage.location import parse

LAYERS = ("bronze", "silver", "gold")


def _now() -> datetime:
    return datetime.now(UTC)


class Catalog:
    """Read and change the catalog of one lake. Safe for many threads and processes.

    >>> from catalog.storage import open_storage
    >>> catalog = Catalog.open(open_storage("memory://"))
    >>> entry = catalog.add_table("silver.flights", id="1", location="silver/f-1", managed=True)
    >>> [table.name for table in catalog.tables()], catalog.layers()
    (['silver.flights'], ['bronze', 'silver', 'gold'])
    >>> catalog.table("silver.flight")
    Traceback (most recent call last):
    catalog.errors.NotFoundError: no table silver.flight. Did you mean silver.flights?
    """

    def __init__(
        self,
        storage: Storage,
        *,
        user: str | None = None,
        clock: Callable[[], datetime] = _now,
        backoff: Backoff | None = None,
    ) -> None:
        """Prepare a catalog without looking for it; `open` is what most callers want."""
        self.storage = storage
        self.user = user
        self._clock = clock
        self._backoff = backoff or Backoff()
        self._journal = Journal(storage.child(FOLDER), self._backoff)
        self._root = parse(storage.uri).resolved.uri
        self._fitness = Fitness(self._journal.storage, clock)
        self._others: frozenset[str] = frozenset()
        self._latest: CatalogState | None = None

    @classmethod
    def open(
        cls,
        storage: Storage,
        *,
        create: bool = True,
        layers: Iterable[str] = LAYERS,
        user: str | None = None,
        clock: Callable[[], datetime] = _now,
        backoff: Backoff | None = None,
        probe: Probing = "once",
    ) -> "Catalog":
        """Open the catalog of the lake at `storage`, or create it with `layers`.

        `user` is who the history names, by default the login name. `clock` returns aware
        datetimes. Raise NotFoundError if there is none and `create` is false, and
        UnsupportedError for an object store that fails the `probe`.
        """
        user = _login() if user is None else user
        catalog = cls(storage, user=user, clock=clock, backoff=backoff)
        exists = catalog._refresh() is not None
        if not exists and not create:
            raise _no_lake(storage)
        catalog._fitness.require(catalog._others, when=probe)
        if not exists:
            first = [change.DeclareLayer(layer) for layer in layers]
            catalog._create(first)
        return catalog

    @property
    def state(self) -> CatalogState:
        """Return the newest state, looked up anew: one listing if nothing changed.

        The value is shared and complete; several questions to one `state` agree with each other.
        """
        state = self._refresh()
        if state is None:
            raise _no_lake(self.storage)
        return state

    @property
    def known(self) -> CatalogState | None:
        """Return the state that was seen last, without looking; None before the first look."""
        return self._latest

    def probe(self) -> "room.probe.ProbeResult":
        """Prove anew that the store keeps what commits rely on; a fit one is remembered."""
        return self._fitness.probe()

    def probed(self) -> "room.probe.ProbeResult | None":
        """Return what the probe of this store said that was remembered, by one read."""
        return self._fitness.recall()

    def tables(self, layer: str | None = None) -> list[TableEntry]:
        """List the tables of one layer or of all, sorted by name."""
        state = self.state
        if layer is None:
            return list(state.tables.values())
        wanted = state.layer(layer).name
        return [table for table in state.tables.values() if table.layer == wanted]

    def table(self, name: str) -> TableEntry:
        """Return a table by its name, in any case; NotFoundError carries the near misses."""
        return self.state.table(name)

    def views(self, layer: str | None = None) -> list[ViewEntry]:
        """List the views of one layer or of all, sorted by name."""
        state = self.state
        wanted = None if layer is None else state.layer(layer).name
        return [view for view in state.views.values() if wanted in (None, view.layer)]

    def view(self, name: str) -> ViewEntry:
        """Return a view by its name, in any case; NotFoundError carries the near misses."""
        return self.state.view(name)

    def layers(self) -> list[str]:
        """List the names of the layers in the order they were declared."""
        return list(self.state.layers)

    def add_table(
        self,
        name: str,
        *,
        id: str,  # noqa: A002 - the word of the log and of the document
        location: str,
        managed: bool,
        description: str | None = None,
        owner: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> TableEntry:
        """Add a table; of several callers that race for a name exactly one succeeds.

        `location` is relative to the lake's root if `managed`, else a path or URI, of which the
        absolute URI is kept (on local disk that behind symbolic links). Raise
        AlreadyExistsError if the name is taken or the location overlaps with another.
        """
        addition = change.AddTable(
            name=name,
            id=id,
            location=location,
            managed=managed,
            description=description,
            owner=owner,
            tags=tags or {},
        )
        return self.commit([addition]).table(name)

    def drop_table(self, name: str, *, cascade: bool = False) -> TableEntry:
        """Forget a table and return what was known of it; its files stay.

        Raise InputError where views read it, unless `cascade` drops these too.
        """
        before, _ = self.transition([change.DropTable(name, cascade)])
        return before.table(name)

    def rename_table(self, old: str, new: str) -> TableEntry:
        """Give a table that no view reads another name, in any layer; its location stays."""
        return self.commit([change.RenameTable(old, new)]).table(new)

    def update_table(
        self,
        name: str,
        *,
        description: str | Keep | None = KEEP,
        owner: str | Keep | None = KEEP,
        tags: Mapping[str, str] | Keep | None = KEEP,
    ) -> TableEntry:
        """Replace what is passed: None removes it, what is left out stays."""
        update = change.UpdateTable(name, description=description, owner=owner, tags=tags)
        return self.commit([update]).table(name)

    def add_view(
        self,
        name: str,
        sql: str,
        *,
        depends_on: Iterable[str],
        description: str | None = None,
        owner: str | None = None,
        replace: bool = False,
    ) -> ViewEntry:
        """Keep a query under a name that is free, or, by `replace`, a view's already.

        `depends_on` are the tables and views that the query reads; they must be there. Raise
        AlreadyExistsError, NotFoundError, or InputError for a view that would read itself.
        """
        addition = change.AddView(
            name=name,
            sql=sql,
            depends_on=tuple(depends_on),
            description=description,
            owner=owner,
            replace=replace,
        )
        return self.commit([addition]).view(name)

    def drop_view(self, name: str, *, cascade: bool = False) -> ViewEntry:
        """Forget a view and return it; by `cascade` also the views that read it."""
        before, _ = self.transition([change.DropView(name, cascade)])
        return before.view(name)

    def update_view(
        self,
        name: str,
        *,
        description: str | Keep | None = KEEP,
        owner: str | Keep | None = KEEP,
    ) -> ViewEntry:
        """Replace what is passed: None removes it, what is left out stays."""
        update = change.UpdateView(name, description=description, owner=owner)
        return self.commit([update]).view(name)

    def declare_layer(self, name: str, description: str | None = None) -> LayerEntry:
        """Add a layer, or describe one that exists; declaring it twice does no harm."""
        return self.commit([change.DeclareLayer(name, description)]).layer(name)

    def commit(
        self, changes: Sequence[change.Change], *, operation: str | None = None
    ) -> CatalogState:
        """Make several changes in one version, all or none, and return the new state.

        `operation` replaces the derived name in the history. Raise ConflictError if others
        kept winning, OutcomeUnknownError if storage never told whether it happened.

        >>> from catalog.storage import open_storage
        >>> catalog = Catalog.open(open_storage("memory://"))
        >>> make = lambda name: change.AddTable(name=name, id="1", location=name, managed=True)
        >>> state = catalog.commit([make("gold.a"), make("gold.b"), change.DropTable("gold.a")])
        >>> state.version, list(state.tables)
        (1, ['gold.b'])
        """
        return self.transition(changes, operation=operation)[1]

    def transition(
        self, changes: Sequence[change.Change], *, operation: str | None = None
    ) -> tuple[CatalogState, CatalogState]:
        """Make changes as `commit` does; return the state they were made on and the new one."""
        changes = [self._absolute(item) for item in changes]
        if not changes:
            state = self.state
            return state, state
        token = uuid.uuid4().hex
        for _ in self._backoff.tries():
            before = self.state
            after = self._attempt(before, changes, operation=operation, token=token)
            if after is not None:
                return before, after
        raise ConflictError(
            f"the catalog changed under each of {self._backoff.attempts} attempts",
            next_step="Repeat the operation, with fewer others at the same time",
        )

    def history(self, limit: int | None = None) -> list[CatalogChange]:
        """List the changes that made the catalog, newest first; each costs one read."""
        versions = self._journal.list().versions[::-1][:limit]
        return [
            decode_change(self._journal.read(version), where=self._journal.where(version))[0]
            for version in versions
        ]

    def _create(self, layers: Sequence[change.Change]) -> None:
        nothing = CatalogState(-1, datetime.min.replace(tzinfo=UTC))
        # Whoever loses this race finds a catalog, which is all that was asked for.
        self._attempt(nothing, layers, operation="create catalog", token=uuid.uuid4().hex)

    def _attempt(
        self,
        before: CatalogState,
        changes: Sequence[change.Change],
        *,
        operation: str | None,
        token: str,
    ) -> CatalogState | None:
        after = apply(before, changes, root=self._root, now=self._clock())
        derived, names = describe(changes)
        record = CatalogChange(
            after.version, after.timestamp, operation or derived, names, self.user
        )
        data = encode(after, record, token=token)
        if not self._journal.append(after.version, data, token=token):
            return None
        self._latest = after
        return after

    def _refresh(self) -> CatalogState | None:
        latest = self._latest
        found = self._journal.look(known=latest.version if latest else None)
        newest, self._others = found.newest, found.others
        if newest is None:
            latest = None
        elif latest is None or latest.version != newest:
            where = self._journal.where(newest)
            latest = decode(self._journal.read(newest), where=where)
            if latest.version != newest:
                raise CorruptionError(
                    f"catalog document {where} holds version {latest.version}",
                    next_step="Restore it from a backup; it was copied or renamed",
                    path=where,
                )
        self._latest = latest
        return latest

    def _absolute(self, item: change.Change) -> change.Change:
        if isinstance(item, change.AddTable) and not item.managed:
            return replace(item, location=parse(item.location).resolved.uri)
        return item


def _login() -> str | None:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return None


def _no_lake(storage: Storage) -> NotFoundError:
    return NotFoundError(
        f"there is no lake at {storage.uri}",
        next_step="Check the URI, or create it: connect(..., create=True), lakehouse init",
    )
