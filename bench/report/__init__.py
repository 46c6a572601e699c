"""The HTML report: a judged run as one self-contained page, in Chinese or English.

page       assembles the page and writes the file
sections   the table of sections; each is a function from evidence to blocks
blocks     what a section is made of: figures, tables, notes
figures    plotly specifications; the only user of plotly
words      every word a page shows, in words/{zh,en}.yaml
numbers    how values are written
thin       long series cut to what a screen can show, keeping extremes
"""
