"""``python -m hydropress``."""

from hydropress.cli import main

if __name__ == "__main__":
    main()
