"""Make the links of README.rst absolute in the metadata of the package: PyPI has no files beside it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

try:
    from hatchling.metadata.plugin.interface import MetadataHookInterface
except ImportError:  # The tests import `absolute` where hatchling is not installed.
    MetadataHookInterface = object  # type: ignore[assignment,misc]

# A target of a link, ``<docs/tutorial.rst>``, or of an image.
TARGET = re.compile(r"(?<=<)(?P<link>[\w./-]+\.(?:rst|md))(?=>`_)|(?<=image:: )(?P<image>docs/\S+)")


class CustomMetadataHook(MetadataHookInterface):
    def update(self, metadata: dict[str, Any]) -> None:
        text = (Path(self.root) / "README.rst").read_text("utf-8")
        metadata["readme"] = {"content-type": "text/x-rst", "text": absolute(text, metadata["urls"])}


def absolute(text: str, urls: dict[str, str]) -> str:
    """Return the text with pages of docs/ on the site of the documentation, and other files in the repository."""
    documentation = urls["Documentation"].rstrip("/") + "/en/latest"

    def replaced(found: re.Match[str]) -> str:
        target = found[0]
        if not target.startswith("docs/"):
            return f"{urls['Source'].rstrip('/')}/blob/main/{target}"
        page = target.removeprefix("docs/")
        return f"{documentation}/{page.removesuffix('.rst') + '.html' if page.endswith('.rst') else page}"

    return TARGET.sub(replaced, text)
