"""A reader of HTML pages that sees what a browser would load and run."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """tags : of all elements.  links : values of src, href and xlink:href.  text : what is shown.

    handlers : names of attributes that run scripts.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.handlers: list[str] = []
        self.headings: list[str] = []
        self.cells: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "data", "action", "srcset"):
                self.links.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)
        if tag == "h2":
            self.headings.append("")
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if {"style", "script"} & set(self.open[-1:]):
            return
        self.text += data
        if "h2" in self.open:
            self.headings[-1] += data
        if {"td", "th"} & set(self.open):
            self.cells[-1] += data

    def outside(self) -> list[str]:
        """Return the links that lead out of the page."""
        return [link for link in self.links if not link.startswith(("data:", "#"))]
