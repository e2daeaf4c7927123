"""One module per command: parse the options, call one engine function, print what it yields."""
