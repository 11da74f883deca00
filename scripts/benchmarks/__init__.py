"""The parts of scripts/bench.

    cli           options, the order of things
    suite         what a benchmark, a contender and a sample are
    relay         the suite over the wire: greenrelay and its peers
    processes     the suite inside one interpreter: processes and theirs
    runner        alternating rounds
    report        the table, the aims, the warnings
    environment   the virtual environment of the peers, the compiled load client
    machine       cores, descriptors, memory
    children      starting and ending programs
    servers/      one small server per contender
    actors/       one small program per kind of process
    load/         the load client, in C

Another suite is a module with a `SUITE`, named in `cli.SUITES`.
"""
