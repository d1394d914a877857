"""What check_dataset looks at: silhouettes, picture quality, coverage of the view sphere; and its page."""
