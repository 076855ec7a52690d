"""The examples under a command's help."""


def examples(*lines: str) -> str:
    """Return the lines as the text below a help page, one under the other."""
    return "\n\n".join(["[bold]Examples[/bold]", *(f"  {line}" for line in lines)])
