/* One connection of the load client: a WebSocket (RFC 6455, the client's side) or an event stream. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "load.h"

static const unsigned char MASK[4] = {0x37, 0xfa, 0x21, 0x3d}; /* RFC 6455 §5.7's example */
static const char KEY[] = "dGhlIHNhbXBsZSBub25jZQ==";          /* and §1.3's, with its answer */
static const char ACCEPT[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

static const char UPGRADE_REQUEST[] = /* path, port, key */
    "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n";
static const char STREAM_REQUEST[] = /* the same without the key */
    "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: text/event-stream\r\n\r\n";

enum { LONG_MESSAGE = 4096 }; /* from here on a copy costs more than a call */
static unsigned char received[256 * 1024];

static void watch(struct connection *connection, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = connection};
    if (epoll_ctl(load.epoll, operation, connection->fd, &event) < 0)
        fail("epoll_ctl: %s", strerror(errno));
}

void start_connection(struct connection *connection) {
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(load.port)};
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1;
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection->fd < 0)
        fail("socket: %s (the descriptor limit?)", strerror(errno));
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(connection->fd, (struct sockaddr *)&server, sizeof server) < 0 && errno != EINPROGRESS)
        fail("connect: %s", strerror(errno));
    connection->state = CONNECTING;
    connection->in_bytes = connection->unread = connection->message_bytes = 0;
    connection->out_bytes = connection->filler_bytes = connection->sent = 0;
    watch(connection, EPOLL_CTL_ADD, EPOLLOUT);
}

void end_connection(struct connection *connection) {
    close(connection->fd); /* also takes it out of the epoll */
    if (connection->state >= OPEN)
        load.open--;
    connection->state = CLOSED;
}

/* The server has ended it: right if we have asked for that, a failure if not. */
static void lose_connection(struct connection *connection, const char *why) {
    if (connection->state != CLOSING)
        fail("connection %u: %s", connection->number, why);
    end_connection(connection);
    if (load.plan->on_end)
        load.plan->on_end(connection);
}

static void send_request(struct connection *connection) {
    char request[512];
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error)
        fail("connect: %s", strerror(error));
    int length = snprintf(request, sizeof request, load.plan->is_stream ? STREAM_REQUEST : UPGRADE_REQUEST,
                          load.path, load.port, KEY);
    if (send(connection->fd, request, length, MSG_NOSIGNAL) != length)
        fail("connection %u: the request does not fit its socket", connection->number);
    connection->state = UPGRADING;
    watch(connection, EPOLL_CTL_MOD, EPOLLIN);
}

/* Send what is left of the frame; what does not fit waits until epoll says so. */
static void flush(struct connection *connection) {
    size_t total = connection->out_bytes + connection->filler_bytes;
    while (connection->sent < total) {
        size_t sent = connection->sent, head = connection->out_bytes;
        struct iovec parts[2] = {
            {connection->out + (sent < head ? sent : head), sent < head ? head - sent : 0},
            {load.filler + (sent > head ? sent - head : 0), total - (sent > head ? sent : head)},
        };
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
        ssize_t size = sendmsg(connection->fd, &message, MSG_NOSIGNAL);
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

static int is_sending(const struct connection *connection) {
    return connection->sent < connection->out_bytes + connection->filler_bytes;
}

/* Begin a masked frame in out and return where its payload goes. */
static unsigned char *start_frame(struct connection *connection, enum opcode opcode, uint64_t size) {
    unsigned char *out = connection->out;
    *out++ = 0x80 | opcode;
    if (size < 126) {
        *out++ = 0x80 | size;
    } else if (size < 65536) {
        *out++ = 0x80 | 126;
        *out++ = size >> 8;
        *out++ = size;
    } else {
        *out++ = 0x80 | 127;
        for (int shift = 56; shift >= 0; shift -= 8)
            *out++ = size >> shift;
    }
    memcpy(out, MASK, 4);
    return out + 4;
}

static void send_frame(struct connection *connection, unsigned char *end, size_t filler) {
    connection->out_bytes = end - connection->out;
    connection->filler_bytes = filler;
    connection->sent = 0;
    flush(connection);
}

static void send_control(struct connection *connection, enum opcode opcode,
                         const unsigned char *payload, size_t size) {
    unsigned char *out = start_frame(connection, opcode, size);
    for (size_t i = 0; i < size; i++)
        *out++ = payload[i] ^ MASK[i % 4];
    send_frame(connection, out, 0);
}

static void write_tag(unsigned char *tag, uint32_t message, uint32_t sender) {
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 8; i++) {
        tag[i] = digits[message >> (28 - 4 * i) & 15];
        tag[8 + i] = digits[sender >> (28 - 4 * i) & 15];
    }
}

void make_filler(void) {
    load.filler = malloc(load.size);
    for (int i = 0; i < load.size; i++)
        load.filler[i] = 'x' ^ MASK[(TAG_BYTES + i) % 4];
}

void send_message(struct connection *connection) {
    unsigned char *out = start_frame(connection, load.binary ? BINARY : TEXT, load.size);
    write_tag(out, ++connection->messages, connection->number);
    for (int i = 0; i < TAG_BYTES; i++)
        out[i] ^= MASK[i % 4];
    send_frame(connection, out + TAG_BYTES, load.size - TAG_BYTES);
}

void send_close(struct connection *connection) {
    connection->state = CLOSING;
    send_control(connection, CLOSE, (const unsigned char *)"\x03\xe8", 2); /* 1000 */
}

/* How long the head of the incoming frame is, as far as its bytes so far tell. */
static size_t head_size(const struct connection *connection) {
    static const size_t longer[2] = {4, 10};
    if (connection->in_bytes < 2 || (connection->in[1] & 127) < 126)
        return 2;
    return longer[(connection->in[1] & 127) - 126];
}

static uint64_t payload_size(const struct connection *connection) {
    const unsigned char *in = connection->in;
    uint64_t size = 0;
    if (in[1] < 126)
        return in[1];
    for (size_t i = 2; i < head_size(connection); i++)
        size = size << 8 | in[i];
    return size;
}

/* Is the message just received the one with this number, from this connection? */
int is_answer(const struct connection *connection, uint32_t message, uint32_t sender) {
    unsigned char tag[TAG_BYTES];
    write_tag(tag, message, sender);
    return connection->message_bytes == (uint64_t)load.size &&
           !memcmp(connection->in + head_size(connection), tag, TAG_BYTES);
}

static void end_frame(struct connection *connection) {
    unsigned char *in = connection->in;
    uint64_t size = payload_size(connection);
    switch (in[0] & 15) {
    case TEXT:
    case BINARY:
    case CONTINUATION: /* of the servers here none sends fragments; is_answer would refuse them */
        connection->message_bytes = size;
        if (load.plan->on_message)
            load.plan->on_message(connection);
        return;
    case PING: /* in the middle of a message of ours no answer: it counts as a sign of life itself */
        if (!is_sending(connection))
            send_control(connection, PONG, in + head_size(connection), size);
        return;
    case CLOSE:
        lose_connection(connection, "the server sent a close frame");
        return;
    }
}

/* Take frames apart: gather each head and the tag behind it, skip the rest. */
static void feed(struct connection *connection, const unsigned char *data, size_t size) {
    while (size && connection->state >= OPEN) {
        size_t skip = connection->unread < size ? connection->unread : size;
        if (!skip) {
            connection->in[connection->in_bytes++] = *data++;
            size--;
            if (connection->in_bytes < head_size(connection))
                continue;
            if (connection->in[1] & 0x80)
                fail("connection %u: the server masks its frames", connection->number);
            size_t keep = connection->in[0] & 8 ? MAX_CONTROL_BYTES : TAG_BYTES;
            uint64_t payload = payload_size(connection);
            size_t wanted = head_size(connection) + (payload < keep ? payload : keep);
            if (connection->in_bytes < wanted)
                continue;
            connection->unread = payload - (wanted - head_size(connection));
        }
        connection->unread -= skip;
        data += skip;
        size -= skip;
        if (!connection->unread) {
            end_frame(connection);
            connection->in_bytes = 0;
        }
    }
}

static int is_as_asked(const char *response) {
    if (load.plan->is_stream)
        return !strncmp(response, "HTTP/1.1 200 ", 13) && strstr(response, "text/event-stream");
    return !strncmp(response, "HTTP/1.1 101 ", 13) && strstr(response, ACCEPT);
}

/* Gather the response; it has to be a 101 with the right answer to our key, or a stream's 200. */
static void feed_response(struct connection *connection, const unsigned char *data, size_t size) {
    if (connection->in_bytes + size >= sizeof connection->in)
        fail("connection %u: the response's head is too long", connection->number);
    memcpy(connection->in + connection->in_bytes, data, size);
    connection->in_bytes += size;
    connection->in[connection->in_bytes] = 0;
    char *end = strstr((char *)connection->in, "\r\n\r\n");
    if (!end)
        return;
    if (!is_as_asked((char *)connection->in))
        fail("connection %u: refused: %.60s", connection->number, connection->in);
    size_t early = connection->in_bytes - (end + 4 - (char *)connection->in);
    connection->in_bytes = 0;
    connection->state = OPEN;
    load.open++;
    if (load.plan->on_open)
        load.plan->on_open(connection);
    if (!load.plan->is_stream)
        feed(connection, data + size - early, early);
}

/* Of a long message only the head and the tag are read; the rest is thrown away in
   the kernel: MSG_TRUNC copies nothing (tcp(7)). */
static void read_some(struct connection *connection) {
    int is_skipping = connection->unread >= LONG_MESSAGE;
    size_t size = load.size >= LONG_MESSAGE ? 10 + TAG_BYTES : sizeof received;
    if (is_skipping)
        size = connection->unread;
    ssize_t got = recv(connection->fd, received, size, is_skipping ? MSG_TRUNC : 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0)
        lose_connection(connection, got < 0 ? strerror(errno) : "the server closed it");
    else if (connection->state == UPGRADING)
        feed_response(connection, received, got);
    else if (!load.plan->is_stream) /* nobody looks at what an event stream says */
        feed(connection, received, got);
}

void handle_events(struct connection *connection, uint32_t events) {
    if (connection->state == CONNECTING) {
        send_request(connection);
        return;
    }
    if (events & EPOLLOUT) { /* what there is to read is reported again */
        watch(connection, EPOLL_CTL_MOD, EPOLLIN);
        flush(connection);
        return;
    }
    read_some(connection);
}
