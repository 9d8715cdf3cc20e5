"""One run, written down: a page of Markdown and a picture, made of the run's results alone."""
