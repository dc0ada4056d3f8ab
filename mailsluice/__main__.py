"""`python -m mailsluice` is `mailsluice`."""

from mailsluice.command import main

if __name__ == "__main__":
    main()
