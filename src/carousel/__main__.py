"""`python -m carousel` is the command `carousel`."""

from carousel.cli.main import main

if __name__ == "__main__":
    main()
