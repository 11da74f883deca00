"""The `greenrelay` command: patch the standard library, and only then load the rest."""

from gevent import monkey

monkey.patch_all()

from greenrelay.cli import main  # noqa: E402  # after the patch, which is the point

if __name__ == "__main__":
    main()
