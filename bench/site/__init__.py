"""Compare peers as users meet them: pages of a site under load, see `bench.site.__main__`."""
