/* TLS, with OpenSSL. Nobody's certificate is checked: the server is the bench's own. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "load.h"

#ifdef WITH_OPENSSL

#include <openssl/err.h>
#include <openssl/ssl.h>

static SSL *make_secret(int fd) {
    static SSL_CTX *context;
    if (!context) {
        context = SSL_CTX_new(TLS_client_method());
        if (!context)
            fail("OpenSSL: no context");
        SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
        SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    }
    SSL *tls = SSL_new(context);
    if (!tls || !SSL_set_fd(tls, fd))
        fail("OpenSSL: no connection");
    SSL_set_connect_state(tls);
    return tls;
}

int secure(struct connection *connection) {
    if (!connection->tls)
        connection->tls = make_secret(connection->fd);
    int done = SSL_do_handshake(connection->tls);
    if (done == 1)
        return 1;
    switch (SSL_get_error(connection->tls, done)) {
    case SSL_ERROR_WANT_READ:
        watch(connection, EPOLL_CTL_MOD, EPOLLIN);
        return 0;
    case SSL_ERROR_WANT_WRITE:
        watch(connection, EPOLL_CTL_MOD, EPOLLOUT);
        return 0;
    }
    fail("connection %u: no TLS: %s", connection->number, ERR_reason_error_string(ERR_get_error()));
}

void forget_secret(struct connection *connection) {
    SSL_free(connection->tls);
    connection->tls = NULL;
}

/* What a system call would have returned. */
static ssize_t as_call(struct connection *connection, int done) {
    if (done > 0)
        return done;
    switch (SSL_get_error(connection->tls, done)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    }
    ERR_clear_error();
    errno = ECONNRESET;
    return -1;
}

ssize_t secure_send(struct connection *connection, const void *data, size_t size) {
    return as_call(connection, SSL_write(connection->tls, data, size));
}

ssize_t secure_recv(struct connection *connection, void *data, size_t size) {
    return as_call(connection, SSL_read(connection->tls, data, size));
}

#else

int secure(struct connection *connection) {
    (void)connection;
    fail("TLS needs OpenSSL's headers (Debian, Ubuntu: apt-get install libssl-dev; "
         "Fedora: dnf install openssl-devel; Alpine: apk add openssl-dev)");
}

void forget_secret(struct connection *connection) {
    (void)connection;
}

ssize_t secure_send(struct connection *connection, const void *data, size_t size) {
    (void)data, (void)size;
    return secure(connection);
}

ssize_t secure_recv(struct connection *connection, void *data, size_t size) {
    (void)data, (void)size;
    return secure(connection);
}

#endif
