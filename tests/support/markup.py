"""What a browser would make of a page, as far as a test asks: its elements, their text, the order of its headings."""

from html.parser import HTMLParser

VOID = {"meta", "link", "input", "br"}


class Document(HTMLParser):
    """A page, parsed; `faults` says what is not well-formed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[tuple[str, ...], str]] = []  # each with the elements around it
        self.faults: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        self.faults += [f"<{name}> is not closed" for name in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if len({name for name, _ in attrs}) != len(attrs):
            self.faults.append(f"<{tag}> has an attribute twice")
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1] != tag:
            self.faults.append(f"</{tag}> closes {self._open[-1:]}")
        else:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        self.texts.append((tuple(self._open), data))

    @property
    def text(self) -> str:
        """All that is read, in order."""
        return "".join(text for around, text in self.texts if not {"script", "style"} & set(around))

    def all(self, tag: str) -> list[dict[str, str]]:
        """The attributes of each element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def headings(self) -> list[int]:
        """The levels of its headings."""
        return [int(name[1]) for name, _ in self.elements if name in ("h1", "h2", "h3", "h4")]

    @property
    def links(self) -> list[str]:
        """Where its links lead."""
        return [one["href"] for one in self.all("a")]
