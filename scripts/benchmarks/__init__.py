"""The parts of scripts/bench.

    cli           options, the order of things
    suite         what a benchmark, a contender and a sample are
    apps          the suite over the wire as apps have it: greenrelay and its peers
    best          the same at its best
    contenders    who they are
    wire          how a server is measured
    crowds        the same for waiting, growing crowds, and all coming back
    processes     the suite inside one interpreter: processes and theirs
    nodes         the suite between nodes: two interpreters that talk, rooms of several workers
    talking       how two programs that talk are measured
    rooms         how servers with several workers are
    redis         a redis-server for those who need one
    simulation    many nodes in one interpreter: what scripts/simulate prints
    costs         what one name, message or member of a group takes
    runner        alternating rounds
    report        the table, the aims, the warnings
    guard         ratios that were accepted, and what has fallen since: accepted.json
    environment   the virtual environment of the peers, the compiled load client
    machine       cores, descriptors, memory
    children      starting and ending programs
    servers/      one small server per contender
    actors/       one small program per kind of process
    load/         the load client, in C

Another suite is a module with a `SUITE`, named in `cli.SUITES`.
"""
