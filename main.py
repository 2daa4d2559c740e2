"""`python main.py …` is the command `carousel …`, for those who look for this file."""

from carousel.cli.main import main

if __name__ == "__main__":
    main()
