"""`python -m mlbench` is the same as `mlbench-coordinator`."""

from mlbench.cli.main import main

if __name__ == "__main__":
    main()
