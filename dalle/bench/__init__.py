"""How fast a step is, against what the machine allows and against other programs: `python -m dalle bench`."""
