"""The measurements of both papers: what each looks at, how it is run, and what it concludes."""
