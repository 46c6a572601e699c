"""The HTML report: a judged run as one self-contained page, in Chinese or English.

`page` assembles it from the table of sections in `contents`; a section is a function from
`evidence` to `blocks` (figures, tables, notes).  `figures` makes plotly specifications, `words`
holds every word in two languages, `numbers` says how values are written, `thin` cuts long series
to what a screen can show, `observed` reads what servers said of themselves.
"""
