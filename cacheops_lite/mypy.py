"""A plugin for mypy, beside that of django-stubs: adds this package's methods to `QuerySet` and to managers.

Uses only mypy's documented hooks, and of django-stubs only the names of Django's classes.  Both plugins may come first:
no hook here is one that django-stubs' plugin asks for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from mypy.nodes import (
    ARG_OPT,
    ARG_STAR,
    ARG_STAR2,
    MDEF,
    ArgKind,
    Argument,
    CallExpr,
    MemberExpr,
    MypyFile,
    SymbolTableNode,
    TypeInfo,
    TypeVarExpr,
    Var,
)
from mypy.plugin import ClassDefContext, MethodSigContext, Plugin, SemanticAnalyzerPluginInterface
from mypy.plugins.common import add_method_to_class
from mypy.types import (
    AnyType,
    FunctionLike,
    Instance,
    LiteralType,
    NoneType,
    Type,
    TypeOfAny,
    TypeVarId,
    TypeVarType,
    UnionType,
)

from .conf import ALL_OPS

QUERYSET = "django.db.models.query.QuerySet"
BASE_MANAGER = "django.db.models.manager.BaseManager"
MANAGER = "django.db.models.manager.Manager"
# The first base of `QuerySet`.  mypy calls the hooks of a class by its bases.
FIRST_BASE = "django.db.models.utils.AltersData"
REPORT_MODULE = "cacheops_lite.observe.report"
MANAGER_METHODS = "cacheops_lite.typing._ManagerMethods"
MODULES = (QUERYSET.rpartition(".")[0], MANAGER.rpartition(".")[0])
# Methods of managers that return a queryset of the type that ``all()`` returns.
RETURNING_QUERYSET = ("cache", "nocache", "inplace")
PRIORITY = 10
# The name of the type variable that stands for the type of the queryset itself.
SELF = "_CacheopsSelf"


class CacheopsPlugin(Plugin):
    """Makes ``cache()`` and the other methods known."""

    def get_additional_deps(self, file: MypyFile) -> list[tuple[int, str, int]]:
        return [(PRIORITY, REPORT_MODULE, -1)] if file.fullname in MODULES else []

    def get_base_class_hook(self, fullname: str) -> Callable[[ClassDefContext], None] | None:
        return {FIRST_BASE: _extend_queryset, BASE_MANAGER: _extend_manager}.get(fullname)

    def get_method_signature_hook(self, fullname: str) -> Callable[[MethodSigContext], FunctionLike] | None:
        # The name is that of the receiver's class, which may inherit the method or define another one.
        class_name, _, method = fullname.rpartition(".")
        found = self.lookup_fully_qualified(class_name) if method in RETURNING_QUERYSET else None
        if found is not None and isinstance(found.node, TypeInfo) and found.node.has_base(BASE_MANAGER):
            owner = found.node.get_containing_type_info(method)
            if owner is not None and owner.fullname in (BASE_MANAGER, MANAGER_METHODS):
                return _returning_type_of_all
        return None


def plugin(version: str) -> type[Plugin]:
    """Return the plugin.  mypy calls this."""
    return CacheopsPlugin


def _extend_queryset(context: ClassDefContext) -> None:
    """Add the methods to `QuerySet`; those that return a queryset return one of the same type."""
    info = context.cls.info
    if info.fullname != QUERYSET:
        return
    any_itself, default = Instance(info, list(info.defn.type_vars)), AnyType(TypeOfAny.from_omitted_generics)
    fullname = f"{QUERYSET}.{SELF}"
    info.names[SELF] = SymbolTableNode(MDEF, TypeVarExpr(SELF, fullname, [], any_itself, default))

    def add(name: str, arguments: list[Argument], returned: Type | None) -> None:
        number = TypeVarId(-1, namespace=f"{QUERYSET}.{name}")
        itself = TypeVarType(SELF, fullname, number, [], any_itself, default)
        add_method_to_class(context.api, context.cls, name, arguments, returned or itself, itself, itself)

    _add_common(context.api, add, None)
    add("cloning", [_argument("cloning", context.api.named_type("builtins.int"))], None)
    add("clone", [], None)


def _extend_manager(context: ClassDefContext) -> None:
    """Add the methods to `BaseManager`, when its subclass `Manager` is defined right after it."""
    if context.cls.fullname != MANAGER:
        return
    base = context.cls.info.bases[0].type
    queryset = context.api.lookup_fully_qualified_or_none(QUERYSET)
    if queryset is None or not isinstance(queryset.node, TypeInfo) or not queryset.node.defn.type_vars:
        if not context.api.final_iteration:
            context.api.defer()
        return
    model = base.defn.type_vars[0]
    returned = Instance(queryset.node, [model] * len(queryset.node.defn.type_vars))
    _add_common(context.api, partial(add_method_to_class, context.api, base.defn), returned)


def _add_common(api: SemanticAnalyzerPluginInterface, add: Callable[..., object], queryset: Type | None) -> None:
    """Call `add` for each method that querysets and managers share.  Most of them return `queryset`."""
    text, anything = api.named_type("builtins.str"), AnyType(TypeOfAny.explicit)
    operations: list[Type] = [LiteralType(operation, text) for operation in sorted(ALL_OPS)]
    operation = UnionType(operations)
    several = api.named_type("typing.Iterable", [operation])
    ops = UnionType([*operations, LiteralType("all", text), several, NoneType()])
    number, flag = api.named_type("builtins.int"), api.named_type("builtins.bool")
    timeout, lock = UnionType([number, NoneType()]), UnionType([flag, NoneType()])
    add("cache", [_argument("ops", ops), _argument("timeout", timeout), _argument("lock", lock)], queryset)
    add("nocache", [], queryset)
    add("inplace", [], queryset)
    others = [_argument("args", anything, ARG_STAR), _argument("kwargs", anything, ARG_STAR2)]
    add("invalidated_update", others[1:], number)
    report = api.named_type_or_none(f"{REPORT_MODULE}.CacheReport") or anything
    add("explain_cache", [_argument("operation", operation), *others], report)


def _argument(name: str, annotation: Type, kind: ArgKind = ARG_OPT) -> Argument:
    return Argument(Var(name), annotation, None, kind)


def _returning_type_of_all(context: MethodSigContext) -> FunctionLike:
    """Return the method's signature with the return type of ``all()``, which django-stubs' plugin knows best.

    It is the project's own queryset class for managers made by ``from_queryset()`` or ``as_manager()``.
    """
    call = context.context
    if not isinstance(call, CallExpr) or not isinstance(call.callee, MemberExpr):
        return context.default_signature
    every = CallExpr(MemberExpr(call.callee.expr, "all"), [], [], [])
    every.set_line(call)
    every.callee.set_line(call)
    return context.default_signature.copy_modified(ret_type=context.api.get_expression_type(every))
