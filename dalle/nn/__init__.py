"""The nets, one to a file. Each takes a frozen config and knows nothing of files, pages or training."""
