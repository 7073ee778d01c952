"""The lab server tried whole: images built, a campaign run through compose, containers killed in between.

`make compose-test` runs `campaign`; where no Docker engine runs, `engine` sets
one up from Debian's packages. Not part of `make test`: it takes a quarter of an
hour and needs root where there is no engine.
"""
