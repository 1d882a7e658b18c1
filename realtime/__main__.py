"""`python -m realtime`."""

from realtime.commands.service import main

main()
