/* What the load client does with its connections. */
#include <poll.h>
#include <stdio.h>

#include "load.h"

void open_all(void) {
    int started = 0;
    while (load.open < load.connections) {
        while (started < load.connections && started - load.open < load.opening)
            start_connection(&load.table[started++]);
        poll_events(100);
    }
}

int is_input_open(void) {
    struct pollfd input = {.fd = 0, .events = POLLIN};
    return poll(&input, 1, 0) == 0;
}

/* echo: every connection has one message under way, all the time. */

static void echo_message(struct connection *connection) {
    if (!is_answer(connection, connection->messages, connection->number))
        fail("connection %u: this is not the message it sent", connection->number);
    load.count++;
    send_message(connection);
}

static void run_echo(void) {
    open_all();
    for (int i = 0; i < load.connections; i++)
        send_message(&load.table[i]);
    measure_window();
}

/* fanout: the first connection sends, all get it; when the last has it, the next is sent. */

static int arrived;

static void fanout_message(struct connection *connection) {
    struct connection *sender = &load.table[0];
    if (!is_answer(connection, sender->messages, sender->number))
        fail("connection %u: this is not the message of round %u", connection->number, sender->messages);
    load.count++;
    if (++arrived == load.connections) {
        arrived = 0;
        send_message(sender);
    }
}

static void run_fanout(void) {
    open_all();
    run_until(now() + 0.3, load.most); /* some servers count a client only after its 101 */
    send_message(&load.table[0]);
    measure_window();
}

/* idle, streams: open them, say so, hold them until standard input ends, close them properly;
   of an event stream that is closing the socket. */

static void run_idle(void) {
    open_all();
    printf("{\"open\": %d}\n", load.open);
    fflush(stdout);
    while (is_input_open())
        poll_events(50);
    for (int i = 0; i < load.connections; i++)
        (load.plan->kind == STREAM ? end_connection : send_close)(&load.table[i]);
    while (load.open)
        poll_events(50);
}

/* connect: every slot opens a connection, closes it properly and opens the next. */

static void connect_open(struct connection *connection) {
    load.count++;
    send_close(connection);
}

static void run_connect(void) {
    for (int i = 0; i < load.connections; i++)
        start_connection(&load.table[i]);
    measure_window();
}

const struct mode modes[] = {
    {.name = "echo", .on_message = echo_message, .run = run_echo},
    {.name = "fanout", .on_message = fanout_message, .run = run_fanout},
    {.name = "idle", .run = run_idle},
    {.name = "streams", .kind = STREAM, .run = run_idle},
    {.name = "connect", .on_open = connect_open, .on_end = start_connection, .run = run_connect},
    {.name = "rotate", .on_message = rotate_message, .run = run_rotate},
    {.name = "latency", .on_message = latency_message, .run = run_latency},
    {.name = "storm", .on_message = storm_message, .run = run_storm},
    {.name = "streamfan", .kind = STREAM, .on_message = streamfan_message, .run = run_streamfan},
    {.name = NULL},
};
