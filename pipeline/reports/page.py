"""One self-contained HTML page from sections of text, tables, pictures and films."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field

from jinja2 import Environment, PackageLoader, select_autoescape

_PAGES = Environment(
    loader=PackageLoader("pipeline", "reports"), autoescape=select_autoescape(("jinja",))
)


@dataclass(frozen=True)
class Picture:
    """An encoded picture that travels inside the page."""

    data: bytes
    media_type: str
    caption: str = ""

    @property
    def data_uri(self) -> str:
        """The picture as a URI that needs no other file."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.data).decode()}"


@dataclass(frozen=True)
class Film:
    """A film that lies beside the page; `href` is relative to it."""

    href: str
    caption: str = ""


@dataclass(frozen=True)
class Table:
    """A table of plain values and small pictures."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True)
class Section:
    """One heading of a report and what stands under it."""

    title: str
    text: str = ""
    table: Table | None = None
    pictures: Sequence[Picture] = field(default_factory=tuple)
    films: Sequence[Film] = field(default_factory=tuple)


@dataclass(frozen=True)
class Report:
    """A report: one page for the store, and the same as Markdown for the Prefect UI."""

    title: str
    summary: str
    sections: Sequence[Section]

    def html(self) -> str:
        """Return one self-contained page; every text is escaped."""
        page = _PAGES.get_template("page.html.jinja")
        return page.render(title=self.title, summary=self.summary, sections=self.sections)

    def markdown(self) -> str:
        """Return the report as Markdown, pictures as data URIs."""
        lines = [f"# {self.title}", "", self.summary, ""]
        for section in self.sections:
            lines += [f"## {section.title}", ""]
            if section.text:
                lines += [section.text, ""]
            if section.table is not None:
                lines += _markdown_table(section.table)
            for picture in section.pictures:
                lines += [f"![{_caption(picture.caption)}]({picture.data_uri})", ""]
            lines += [f"- {_caption(film.caption)}: `{film.href}`" for film in section.films]
            lines.append("")
        return "\n".join(lines)


def _caption(text: str) -> str:
    """Return a text that does not end the brackets around it: film names have brackets, too."""
    return " ".join(text.split()).replace("[", "(").replace("]", ")").replace("<", "&lt;")


def _markdown_table(table: Table) -> list[str]:
    def cell(value: object) -> str:
        if isinstance(value, Picture):
            return f"![{_caption(value.caption)}]({value.data_uri})"
        return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")

    rows = ["| " + " | ".join(map(cell, row)) + " |" for row in table.rows]
    head = "| " + " | ".join(table.columns) + " |"
    return [head, "|" + " --- |" * len(table.columns), *rows, ""]
