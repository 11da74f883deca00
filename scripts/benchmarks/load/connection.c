/* One connection of the load client: connect, shake hands, read and write, end. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "load.h"

static const char KEY[] = "dGhlIHNhbXBsZSBub25jZQ=="; /* RFC 6455 §1.3's, with its answer */
static const char ACCEPT[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

static const char UPGRADE_REQUEST[] = /* path, port, key, further lines */
    "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n%s\r\n";
static const char OFFER[] =
    "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; "
    "client_no_context_takeover\r\n";
static const char STREAM_REQUEST[] = /* path, port */
    "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: text/event-stream\r\n\r\n";

enum { LONG_MESSAGE = 4096 }; /* from here on a copy costs more than a call */
static unsigned char received[256 * 1024];

void watch(struct connection *connection, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = connection};
    if (epoll_ctl(load.epoll, operation, connection->fd, &event) < 0)
        fail("epoll_ctl: %s", strerror(errno));
}

static int port_of(const struct connection *connection) {
    return load.other_port && connection->number % 2 ? load.other_port : load.port;
}

/* One source address has ports for some 28,000 connections, fewer while old ones wait. */
static void choose_source(const struct connection *connection) {
    struct sockaddr_in source = {.sin_family = AF_INET};
    int one = 1;
    uint32_t number = connection->number / PER_ADDRESS;
    if (!number)
        return;
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + number);
    setsockopt(connection->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(connection->fd, (struct sockaddr *)&source, sizeof source) < 0)
        fail("127.0.0.%u: %s", 1 + number, strerror(errno));
}

void start_connection(struct connection *connection) {
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(port_of(connection))};
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1;
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection->fd < 0)
        fail("socket: %s (the descriptor limit?)", strerror(errno));
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    choose_source(connection);
    if (connect(connection->fd, (struct sockaddr *)&server, sizeof server) < 0 && errno != EINPROGRESS)
        fail("connect: %s", strerror(errno));
    connection->state = CONNECTING;
    connection->in_bytes = connection->unread = connection->message_bytes = 0;
    connection->out_bytes = connection->filler_bytes = connection->sent = 0;
    watch(connection, EPOLL_CTL_ADD, EPOLLOUT);
}

void end_connection(struct connection *connection) {
    if (connection->tls)
        forget_secret(connection);
    close(connection->fd); /* also takes it out of the epoll */
    if (connection->state >= OPEN && !connection->is_greeting)
        load.open--;
    connection->state = CLOSED;
}

/* The server has ended it: right if we have asked for that, a failure if not. */
void lose_connection(struct connection *connection, const char *why) {
    if (connection->state != CLOSING)
        fail("connection %u: %s", connection->number, why);
    end_connection(connection);
    if (load.plan->on_end)
        load.plan->on_end(connection);
}

/* It can be used now. */
void count_open(struct connection *connection) {
    connection->is_greeting = 0;
    load.open++;
    if (load.plan->on_open)
        load.plan->on_open(connection);
}

static void become_open(struct connection *connection) {
    connection->state = OPEN;
    connection->is_greeting = load.socketio;
    if (!load.socketio)
        count_open(connection);
}

static ssize_t send_parts(struct connection *connection) {
    size_t sent = connection->sent, head = connection->out_bytes;
    size_t total = head + connection->filler_bytes;
    struct iovec parts[2] = {
        {connection->out + (sent < head ? sent : head), sent < head ? head - sent : 0},
        {load.filler + (sent > head ? sent - head : 0), total - (sent > head ? sent : head)},
    };
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    if (!connection->tls)
        return sendmsg(connection->fd, &message, MSG_NOSIGNAL);
    unsigned char whole[16384]; /* one record of TLS */
    size_t size = 0;
    for (int i = 0; i < 2; i++) {
        size_t room = sizeof whole - size, part = parts[i].iov_len < room ? parts[i].iov_len : room;
        memcpy(whole + size, parts[i].iov_base, part);
        size += part;
    }
    return secure_send(connection, whole, size);
}

/* Send what is left of the frame; what does not fit waits until epoll says so. */
void flush(struct connection *connection) {
    while (connection->sent < connection->out_bytes + connection->filler_bytes) {
        ssize_t size = send_parts(connection);
        if (size < 0 && errno == EAGAIN) {
            watch(connection, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            return;
        }
        if (size < 0) {
            lose_connection(connection, strerror(errno));
            return;
        }
        connection->sent += size;
    }
}

/* Connected, and secured if that was asked for: what comes next? */
static void send_request(struct connection *connection) {
    char *request = (char *)connection->out;
    watch(connection, EPOLL_CTL_MOD, EPOLLIN);
    if (connection->kind == POSTER) {
        become_open(connection);
        return;
    }
    size_t space = sizeof connection->out;
    connection->state = UPGRADING;
    connection->filler_bytes = connection->sent = 0;
    if (connection->kind == STREAM)
        connection->out_bytes = snprintf(request, space, STREAM_REQUEST, load.path,
                                         port_of(connection));
    else
        connection->out_bytes = snprintf(request, space, UPGRADE_REQUEST, load.path,
                                         port_of(connection), KEY, load.deflate ? OFFER : "");
    flush(connection);
}

static void check_connected(struct connection *connection) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error)
        fail("connect: %s", strerror(error));
}

static int is_as_asked(const struct connection *connection) {
    const char *response = (const char *)connection->in;
    if (connection->kind == STREAM)
        return !strncmp(response, "HTTP/1.1 200 ", 13) && strstr(response, "text/event-stream");
    if (connection->kind == POSTER)
        return !strncmp(response, "HTTP/1.1 204 ", 13);
    if (load.deflate && !strstr(response, "server_no_context_takeover"))
        fail("connection %u: the server does not compress as asked", connection->number);
    return !strncmp(response, "HTTP/1.1 101 ", 13) && strstr(response, ACCEPT);
}

static void feed(struct connection *connection, const unsigned char *data, size_t size) {
    if (connection->kind == WEBSOCKET)
        feed_frames(connection, data, size);
    else if (load.plan->on_message) /* otherwise nobody looks at what an event stream says */
        feed_events(connection, data, size);
}

/* Collect the server's 101, a stream's 200, or a poster's 204. */
static void feed_response(struct connection *connection, const unsigned char *data, size_t size) {
    if (connection->in_bytes + size >= sizeof connection->in)
        fail("connection %u: the response's head is too long", connection->number);
    memcpy(connection->in + connection->in_bytes, data, size);
    connection->in_bytes += size;
    connection->in[connection->in_bytes] = 0;
    char *end = strstr((char *)connection->in, "\r\n\r\n");
    if (!end)
        return;
    if (!is_as_asked(connection))
        fail("connection %u: refused: %.*s", connection->number,
             (int)strcspn((char *)connection->in, "\r\n"), connection->in);
    size_t early = connection->in_bytes - (end + 4 - (char *)connection->in);
    connection->in_bytes = 0;
    if (connection->kind == POSTER) {
        load.plan->on_message(connection);
        return;
    }
    become_open(connection);
    feed(connection, data + size - early, early);
}

/* Of a long message only what is looked at is copied; the rest is thrown away in
   the kernel: MSG_TRUNC copies nothing (tcp(7)). */
static ssize_t read_some(struct connection *connection) {
    if (connection->tls)
        return secure_recv(connection, received, sizeof received);
    int is_skipping = connection->unread >= LONG_MESSAGE;
    size_t size = load.size >= LONG_MESSAGE ? 10 + MAX_JSON_BEFORE_TAG + TAG_BYTES : sizeof received;
    if (is_skipping)
        size = connection->unread;
    return recv(connection->fd, received, size, is_skipping ? MSG_TRUNC : 0);
}

/* Return whether there may be more: decrypted bytes are none that epoll knows of. */
static int take_some(struct connection *connection) {
    ssize_t got = read_some(connection);
    if (got < 0 && errno == EAGAIN)
        return 0;
    if (got <= 0)
        lose_connection(connection, got < 0 ? strerror(errno) : "the server closed it");
    else if (connection->state == UPGRADING || connection->kind == POSTER)
        feed_response(connection, received, got);
    else
        feed(connection, received, got);
    return connection->tls != NULL;
}

void handle_events(struct connection *connection, uint32_t events) {
    if (connection->state == CONNECTING) {
        check_connected(connection);
        connection->state = SECURING;
    }
    if (connection->state == SECURING) {
        if (!load.tls || secure(connection))
            send_request(connection);
        return;
    }
    if (events & EPOLLOUT) { /* what there is to read is reported again */
        watch(connection, EPOLL_CTL_MOD, EPOLLIN);
        flush(connection);
        return;
    }
    while (take_some(connection))
        ;
}
