"""Arguments of commands: shared options, requests and campaign files, completion in the shell."""
