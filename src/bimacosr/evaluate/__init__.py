"""Methods measured on sets of pictures: paired by name, figures for each, tables and drawings."""
