"""The families, as rows of names and settings; one file for each larger one."""
