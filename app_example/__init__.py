"""A tour of greenrelay in one small site. Run it with `greenrelay serve app_example.app:app`."""
