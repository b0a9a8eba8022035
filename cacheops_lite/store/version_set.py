"""The versions that a result depends on: the names of their keys, and what is needed to create them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.functional import cached_property

from ..schema import Dependency, RowsByDependency, is_derived
from . import dependency_index, keys
from .cluster_settings import keeps_conjunction_sets, uses_cluster


@dataclass(frozen=True, slots=True)
class TablePart:
    """The versions of one table: their keys, and the positions of these in `VersionSet.version_keys`."""

    version_keys: list[str]
    positions: list[int]
    index_key: str
    fence_key: str
    # As in `VersionSet.registration`.
    registration: str


class VersionSet:
    """The Redis keys of the versions that a result depends on: table versions, then dependency versions.

    `prefix` is the prefix of all keys, or a function from a table to its prefix.  `coarse` are table-wide dependencies
    that row-level ones replace at the fill: a value carries the versions of the latter only.  `fallback` are the
    dependencies instead of all these where row-level ones find no room, None if it is any row.
    """

    def __init__(
        self,
        prefix: str | Callable[[str], str],
        dependencies: Iterable[Dependency],
        tables: Iterable[str] = (),
        coarse: Iterable[Dependency] = (),
        fallback: Iterable[Dependency] | None = None,
    ):
        self._fallback = fallback
        self._prefix, self._dependencies, self._further_tables = prefix, tuple(dependencies), tuple(tables)
        named = [keys.name_dependency(dependency) for dependency in self._dependencies]
        if len(named) > 1:
            named = sorted(set(named))
        self.tables = sorted({each.table for each in named} | set(map(keys.name_in_keys, self._further_tables)))
        self.prefixes = [prefix if isinstance(prefix, str) else prefix(table) for table in self.tables]
        self._named = named
        self.dependencies = [each.dependency for each in named]
        # For each dependency, the position of its table in `tables`.
        self.owners = [self.tables.index(each.table) for each in named]
        self.coarse = {each: self.dependencies.index(keys.name_dependency(each).dependency) for each in coarse}
        # The keys of the versions, in the order in which a value's digest covers them.
        self.version_keys = [
            *map(keys.table_version_key, self.prefixes, self.tables),
            *self._keys_of_dependencies(keys.version_key),
        ]

    @property
    def is_multi_slot(self) -> bool:
        """Whether the versions lie in several slots of a cluster, so that no single script can check them all."""
        return uses_cluster() and (
            len(self.tables) > 1 or bool(self.coarse) or any("{" in each for each in self.prefixes)
        )

    @cached_property
    def coarsened(self) -> VersionSet:
        """The version set that depends on more rows instead, for tables that have too many shapes."""
        if self._fallback is not None:
            return VersionSet(self._prefix, self._fallback, self._further_tables)
        tables = {each.table for each in self._dependencies}
        any_row = [Dependency(table, (), None) for table in sorted(tables)]
        return VersionSet(self._prefix, any_row, self._further_tables)

    @cached_property
    def conjunction_set_keys(self) -> list[str]:
        """The conjunction sets of the dependencies whose versions a value carries."""
        coarse = set(self.coarse.values())
        sets = self._keys_of_dependencies(keys.conjunction_set_key)
        return [key for i, key in enumerate(sets) if i not in coarse]

    @cached_property
    def carried(self) -> list[int]:
        """The positions in `version_keys` of the versions that a value carries."""
        coarse = {len(self.tables) + i for i in self.coarse.values()}
        return [i for i in range(len(self.version_keys)) if i not in coarse]

    def _keys_of_dependencies(self, key: Callable[[str, str], str]) -> list[str]:
        return [
            key(self.prefixes[owner], dependency)
            for owner, dependency in zip(self.owners, self.dependencies, strict=True)
        ]

    def are_current(self, found: Sequence[bytes | None]) -> bool:
        """Return whether all versions exist, and each dependency version is one of its table's present version."""
        if None in found:
            return False
        n = len(self.tables)
        return all(
            found[n + i][: keys.TOKEN_LENGTH] == found[owner][: keys.TOKEN_LENGTH]  # type: ignore[index]
            for i, owner in enumerate(self.owners)
        )

    def forget_other_epochs(self, found: list[bytes | None], epoch: bytes) -> None:
        """Replace table versions that were made on another server, or in an earlier life of this one, by None."""
        for i in range(len(self.tables)):
            version = found[i]
            if version is not None and version[keys.TOKEN_LENGTH :] != epoch:
                found[i] = None

    @cached_property
    def index_and_fence_keys(self) -> list[str]:
        """The further keys that ``read.lua`` needs to create versions: dependency indexes, then fences."""
        return [
            *map(keys.index_key, self.prefixes, self.tables),
            *map(keys.fence_key, self.prefixes, self.tables),
        ]

    @cached_property
    def registration_keys(self) -> list[str]:
        """The keys of the tables' registrations of near caches."""
        return list(map(keys.registration_key, self.prefixes, self.tables))

    @cached_property
    def registration(self) -> str:
        """The shapes that ``read.lua`` adds to the dependency indexes, and `owners` counted from 1, as JSON."""
        members = [sorted({each.shape for each in self._named if each.table == table}) for table in self.tables]
        return json.dumps({"shapes": members, "owners": [owner + 1 for owner in self.owners]})

    @cached_property
    def kind(self) -> str:
        """The shapes as text, without the values of derived conditions, such as those of a price or a date."""
        kinds = {
            (table, columns, tuple([(column, token[:1] if is_derived(token) else "") for column, token in conditions]))
            for table, conditions, columns in self._dependencies
        }
        return "".join(sorted(map(repr, kinds)))

    @cached_property
    def parts(self) -> list[TablePart]:
        """The parts of this that belong to one table each: on a cluster, each part has a slot."""
        parts, n = [], len(self.tables)
        for position, (prefix, table) in enumerate(zip(self.prefixes, self.tables, strict=True)):
            own = [i for i, owner in enumerate(self.owners) if owner == position]
            positions = [position, *(n + i for i in own)]
            shapes = [sorted({self._named[i].shape for i in own})]
            registration = json.dumps({"shapes": shapes, "owners": [1] * len(own)})
            names = keys.index_key(prefix, table), keys.fence_key(prefix, table)
            parts.append(TablePart([self.version_keys[i] for i in positions], positions, *names, registration))
        return parts

    def forget_outdated_indexes(self) -> None:
        """Forget the known dependency indexes that lack a shape of these; call it when the shapes are registered."""
        for each, owner in zip(self._named, self.owners, strict=True):
            dependency_index.forget_if_lacking(self.prefixes[owner], each.table, each.shape)

    def row_level_groups(self, rows_by_dependency: RowsByDependency) -> list[dict[str, Any]]:
        """Return the groups of versions by which ``fill.lua`` replaces those of coarse dependencies."""
        found: list[dict[str, Any]] = []
        for dependency, position in self.coarse.items():
            owner = self.owners[position]
            prefix, table = self.prefixes[owner], self.tables[owner]
            columns = rows_by_dependency.get(dependency)
            if columns is None:
                found.append(_group(owner, prefix, self.dependencies[position], "", [""]))
                continue
            for (conditions, column), tokens in columns.items():
                template = keys.key_template(dependency, conditions, column)
                group = _group(owner, prefix, template.head, template.tail, sorted(tokens))
                found.append({**group, "index": keys.index_key(prefix, table), "shape": template.shape})
        return found

    @property
    def carried_names(self) -> list[str]:
        """The names of the dependencies whose versions a value carries, as `describe_dependency` takes them."""
        coarse = set(self.coarse.values())
        return [name for i, name in enumerate(self.dependencies) if i not in coarse]

    def row_level_names(self, rows_by_dependency: RowsByDependency) -> list[str]:
        """Return the names of the dependencies that replace the coarse ones."""
        names = []
        for dependency, position in self.coarse.items():
            columns = rows_by_dependency.get(dependency)
            if columns is None:
                names.append(self.dependencies[position])
                continue
            for (conditions, column), tokens in columns.items():
                template = keys.key_template(dependency, conditions, column)
                names += [template.head + token + template.tail for token in sorted(tokens)]
        return names


def _group(owner: int, prefix: str, head: str, tail: str, values: list[str]) -> dict[str, Any]:
    group = {"owner": owner + 1, "version": keys.version_key(prefix, head), "tail": tail, "values": values}
    if keeps_conjunction_sets():
        group["conjunction_set"] = keys.conjunction_set_key(prefix, head)
    return group
