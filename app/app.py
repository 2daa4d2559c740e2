"""`python app/app.py [RUN]` starts the story-teller: the same as `carousel serve [RUN]`."""

import sys

from carousel.cli.main import main

if __name__ == "__main__":
    main(["serve", *sys.argv[1:]])
