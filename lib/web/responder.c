/* responder.c: collecting requests, sending answers, and closing what takes too long */
#include "lib/web/responder.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/buffer.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/prefork.h"

#define CONNECTIONS 256
#define LATER 64 /* of them may be put back, so that there is room for others */
#define READ_BYTES 65536
#define PARAMETERS_MAX 262144 /* bytes of a request's parameters; lib/web/request bounds the headers below that */
#define SMALL 65536           /* a body of this size is not counted against the common bound */
#define DRAIN_US INT64_C(2000000)
#define STOP_US INT64_C(4000000) /* less than PREFORK_GRACE_MS */
#define SILENT_US INT64_C(1000000)
#define RECORD_MAX 65528

enum record { BEGIN = 1, ABORT = 2, END = 3, PARAMETERS = 4, BODY = 5, OUTPUT = 6 };
#define ROLE_RESPONDER 1
#define KEEP_CONNECTION 1

enum state {
    STATE_IDLE,     /* nothing of a request is there yet */
    STATE_READING,  /* parameters and body arrive */
    STATE_LATER,    /* whole, and put back until its time has come */
    STATE_SENDING,  /* the answer is taken */
    STATE_DRAINING, /* answered before all was read: what still comes is thrown away, so that the answer is not lost */
};

struct connection {
    int fd;
    enum state state;
    bool kept;             /* has served a request: idle without an end */
    int64_t since_us;      /* accepted, or its request begun */
    int64_t until_us;      /* of its state; 0: none */
    unsigned char head[8]; /* of the record that arrives */
    size_t n_head;
    size_t content, padding; /* bytes of it that are still to come */
    unsigned char begin[8];
    size_t n_begin;
    uint16_t id;
    bool keep;
    struct buffer parameters, body, out;
    bool has_parameters, shown, broken, over;
    size_t most; /* bytes of the body */
    size_t sent; /* of out */
    char **environment;
    struct responder_request request;
    void (*let_go)(void *kept); /* of request.kept */
};

struct responder {
    int listener;
    int64_t timeout_us, stop_us;
    size_t memory;
    struct connection *connections[CONNECTIONS];
    size_t n, next;             /* next: where looking goes on, so that none is passed over for ever */
    struct connection *serving; /* handed out by responder_next */
    struct pollfd polled[CONNECTIONS + 1];
    unsigned char bytes[READ_BYTES];
};

/* ---- connections ---- */

static void forget_request(struct connection *c)
{
    if (c->request.kept)
        c->let_go(c->request.kept);
    buffer_term(&c->parameters);
    buffer_term(&c->body);
    buffer_term(&c->out);
    free(c->environment);
    c->environment = NULL;
    buffer_init(&c->parameters, PARAMETERS_MAX);
    buffer_init(&c->body, SIZE_MAX / 4);
    buffer_init(&c->out, SIZE_MAX / 4);
    c->n_begin = c->sent = 0;
    c->keep = c->has_parameters = c->shown = c->broken = c->over = false;
    c->most = SMALL;
    c->request = (struct responder_request){0};
    c->state = STATE_IDLE;
    c->until_us = 0;
}

static void drop(struct responder *r, struct connection *c)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->connections[i] == c)
            r->connections[i] = r->connections[--r->n];
    if (r->serving == c)
        r->serving = NULL;
    forget_request(c);
    close(c->fd);
    free(c);
}

/* Too many: an idle one goes first, then the one that has been under way for the longest. */
static void make_room(struct responder *r)
{
    struct connection *worst = r->connections[0];

    for (size_t i = 1; i < r->n; i++) {
        struct connection *c = r->connections[i];
        bool idle = c->state == STATE_IDLE, worst_idle = worst->state == STATE_IDLE;

        if (idle == worst_idle ? c->since_us < worst->since_us : idle)
            worst = c;
    }
    drop(r, worst);
}

static struct connection *accept_one(struct responder *r)
{
    int fd = accept4(r->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct connection *c;

    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            log_error("can't accept a connection: %s", strerror(errno));
        return NULL;
    }
    if (r->n == CONNECTIONS)
        make_room(r);
    c = calloc(1, sizeof(*c));
    if (!c) {
        close(fd);
        return NULL;
    }
    c->fd = fd;
    forget_request(c);
    c->since_us = clock_mono_us();
    c->until_us = c->since_us + r->timeout_us;
    r->connections[r->n++] = c;
    return c;
}

/* ---- reading ---- */

/* A length of FCGI_PARAMS; false when the bytes end within it. */
static bool take_length(const unsigned char **at, const unsigned char *end, size_t *out)
{
    const unsigned char *p = *at;

    if (p == end || ((*p & 0x80) != 0 && end - p < 4))
        return false;
    *out = (*p & 0x80) == 0 ? *p : (size_t)(*p & 0x7F) << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
    *at = p + ((*p & 0x80) == 0 ? 1 : 4);
    return true;
}

/* One pair; false when the bytes end within it, or a NUL stands in it. */
static bool take_pair(const unsigned char **at, const unsigned char *end, const unsigned char **text, size_t *name,
                      size_t *value)
{
    if (!take_length(at, end, name) || !take_length(at, end, value) || *name > (size_t)(end - *at) ||
        *value > (size_t)(end - *at) - *name || memchr(*at, '\0', *name + *value))
        return false;
    *text = *at;
    *at += *name + *value;
    return true;
}

static bool make_environment(struct connection *c)
{
    const unsigned char *start = (const unsigned char *)c->parameters.data, *end = start + c->parameters.length, *at,
                        *text;
    size_t n = 0, bytes = 0, name, value;
    char *to;

    for (at = start; at < end; n++) {
        if (!take_pair(&at, end, &text, &name, &value))
            return false;
        bytes += name + value + 2;
    }
    c->environment = malloc((n + 1) * sizeof(*c->environment) + bytes);
    if (!c->environment)
        return false;
    to = (char *)(c->environment + n + 1);
    at = start;
    for (size_t i = 0; i < n && take_pair(&at, end, &text, &name, &value); i++) {
        c->environment[i] = to;
        memcpy(to, text, name);
        to[name] = '=';
        memcpy(to + name + 1, text + name, value);
        to[name + 1 + value] = '\0';
        to += name + value + 2;
    }
    c->environment[n] = NULL;
    c->has_parameters = true;
    buffer_term(&c->parameters);
    return true;
}

/* What large bodies hold together. */
static size_t held(const struct responder *r)
{
    size_t sum = 0;

    for (size_t i = 0; i < r->n; i++)
        sum += r->connections[i]->body.capacity > SMALL ? r->connections[i]->body.capacity : 0;
    return sum;
}

static void take_body(struct responder *r, struct connection *c, const unsigned char *bytes, size_t n)
{
    if (c->over)
        return;
    if (c->body.length + n > c->most && c->shown) {
        c->request.trouble = RESPONDER_TOO_LONG;
        c->over = true;
        return;
    }
    if (c->body.length + n > c->body.capacity && c->body.length + n > SMALL &&
        held(r) + c->body.length + n > r->memory) {
        c->request.trouble = RESPONDER_CROWDED;
        c->over = true;
        return;
    }
    buffer_add(&c->body, bytes, n);
    c->broken = c->broken || c->body.failed;
}

static unsigned kind_of(const struct connection *c)
{
    return c->head[1];
}

static bool is_own(const struct connection *c)
{
    return c->head[2] == c->id >> 8 && c->head[3] == (c->id & 0xFF);
}

static void take_content(struct responder *r, struct connection *c, const unsigned char *bytes, size_t n)
{
    if (kind_of(c) == BEGIN) {
        size_t room = sizeof(c->begin) - c->n_begin, some = n < room ? n : room;

        memcpy(c->begin + c->n_begin, bytes, some);
        c->n_begin += some;
    } else if (kind_of(c) == PARAMETERS && is_own(c) && !c->has_parameters) {
        buffer_add(&c->parameters, bytes, n);
        c->broken = c->broken || c->parameters.failed;
    } else if (kind_of(c) == BODY && is_own(c)) {
        take_body(r, c, bytes, n);
    }
}

/* A record's header has arrived. */
static void start_record(struct responder *r, struct connection *c)
{
    c->content = (size_t)c->head[4] << 8 | c->head[5];
    c->padding = c->head[6];
    if (c->head[0] != 1 || (kind_of(c) == BEGIN) != (c->state == STATE_IDLE) || c->request.whole) {
        c->broken = true;
        return;
    }
    if (kind_of(c) == BEGIN) {
        c->id = (uint16_t)(c->head[2] << 8 | c->head[3]);
        c->state = STATE_READING;
        if (c->kept) {
            c->since_us = clock_mono_us();
            c->until_us = c->since_us + r->timeout_us;
        }
    } else if (is_own(c) && c->content == 0) {
        if (kind_of(c) == PARAMETERS && !c->has_parameters)
            c->broken = c->broken || !make_environment(c);
        else if (kind_of(c) == BODY)
            c->request.whole = true;
    }
}

/* A record's content is complete. */
static void end_record(struct connection *c)
{
    if (kind_of(c) == BEGIN) {
        c->broken = c->broken || c->n_begin < 8 || (c->begin[0] << 8 | c->begin[1]) != ROLE_RESPONDER;
        c->keep = (c->begin[2] & KEEP_CONNECTION) != 0;
    } else if (kind_of(c) == ABORT && is_own(c)) {
        c->broken = true;
    }
}

static void feed(struct responder *r, struct connection *c, const unsigned char *bytes, size_t n)
{
    while (n > 0 && !c->broken) {
        size_t some;

        if (c->n_head < sizeof(c->head)) {
            c->head[c->n_head++] = *bytes++;
            n--;
            if (c->n_head < sizeof(c->head))
                continue;
            start_record(r, c);
        } else if (c->content > 0) {
            some = n < c->content ? n : c->content;
            take_content(r, c, bytes, some);
            c->content -= some;
            bytes += some;
            n -= some;
        } else {
            some = n < c->padding ? n : c->padding;
            c->padding -= some;
            bytes += some;
            n -= some;
        }
        if (c->n_head == sizeof(c->head) && c->content == 0 && c->padding == 0) {
            end_record(c);
            c->n_head = 0;
        }
    }
}

/* Should more be read before it is looked at? A body waits until its request has been looked at. */
static bool goes_on(const struct connection *c)
{
    return !c->broken && !c->request.whole && c->request.trouble == RESPONDER_FINE && (!c->has_parameters || c->shown);
}

/* Reads what is there; false: the connection is no good any more. */
static bool receive(struct responder *r, struct connection *c)
{
    ssize_t n;

    do {
        n = recv(c->fd, r->bytes, sizeof(r->bytes), 0);
        if (n > 0 && c->state != STATE_DRAINING)
            feed(r, c, r->bytes, (size_t)n);
    } while (n == (ssize_t)sizeof(r->bytes) && goes_on(c));
    if (n == 0 && c->request.whole)
        return true; /* has_left tells */
    return !c->broken && (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)));
}

/* ---- sending ---- */

static void add_record(struct connection *c, enum record kind, const void *bytes, size_t length)
{
    const unsigned char head[8] = {1, kind & 0xFF, c->id >> 8, c->id & 0xFF, length >> 8 & 0xFF, length & 0xFF};

    buffer_add(&c->out, head, sizeof(head));
    if (length > 0)
        buffer_add(&c->out, bytes, length);
}

/* All is sent: wait for the next request, drain, or close. */
static void finish(struct responder *r, struct connection *c)
{
    bool whole = c->request.whole;

    if (whole && c->keep && !prefork_stopping()) {
        forget_request(c);
        c->kept = true;
        return;
    }
    if (whole || shutdown(c->fd, SHUT_WR) != 0) {
        drop(r, c);
        return;
    }
    forget_request(c);
    c->state = STATE_DRAINING;
    c->until_us = clock_mono_us() + DRAIN_US;
}

/* Sends what the other side takes; the connection may be gone afterwards. */
static void send_out(struct responder *r, struct connection *c)
{
    while (c->sent < c->out.length) {
        ssize_t n = send(c->fd, c->out.data + c->sent, c->out.length - c->sent, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) {
            drop(r, c);
            return;
        }
        c->sent += (size_t)n;
    }
    finish(r, c);
}

void responder_answer(struct responder *r, const char *bytes, size_t length)
{
    static const unsigned char complete[8];
    struct connection *c = r->serving;

    if (!c)
        return;
    r->serving = NULL;
    while (length > 0) {
        size_t some = length < RECORD_MAX ? length : RECORD_MAX;

        add_record(c, OUTPUT, bytes, some);
        bytes += some;
        length -= some;
    }
    add_record(c, OUTPUT, NULL, 0);
    add_record(c, END, complete, sizeof(complete));
    if (c->out.failed) {
        drop(r, c);
        return;
    }
    buffer_term(&c->body);
    c->state = STATE_SENDING;
    c->until_us = clock_mono_us() + r->timeout_us;
    send_out(r, c);
}

void responder_wait(struct responder *r, size_t most)
{
    struct connection *c = r->serving;

    r->serving = NULL;
    c->shown = true;
    c->most = most;
}

bool responder_later(struct responder *r, int64_t at_us, void *kept, void (*let_go)(void *kept))
{
    struct connection *c = r->serving;
    size_t n = 0;

    for (size_t i = 0; i < r->n; i++)
        n += r->connections[i]->request.kept ? 1 : 0;
    if (!c->request.kept && n >= LATER)
        return false;
    r->serving = NULL;
    c->request.kept = kept;
    c->let_go = let_go;
    c->state = STATE_LATER;
    c->until_us = at_us;
    buffer_term(&c->body);
    return true;
}

/* Has the web server closed the connection, so that nobody waits for an answer any more? */
static bool has_left(const struct connection *c)
{
    struct pollfd p = {.fd = c->fd};

    return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR)) != 0;
}

/* ---- waiting ---- */

enum status responder_create(int listener, int64_t timeout_us, size_t memory, struct responder **out)
{
    struct responder *r = calloc(1, sizeof(*r));

    if (!r)
        return STATUS_NO_MEMORY;
    r->listener = listener;
    r->timeout_us = timeout_us;
    r->memory = memory;
    /* several processes are told of a connection and one gets it */
    if (fcntl(listener, F_SETFL, fcntl(listener, F_GETFL) | O_NONBLOCK) != 0) {
        free(r);
        return STATUS_IO;
    }
    *out = r;
    return STATUS_OK;
}

void responder_destroy(struct responder *r)
{
    while (r && r->n > 0)
        drop(r, r->connections[0]);
    free(r);
}

/* Is there something to look at? Then it is what is served next. */
static bool ready(struct responder *r, struct connection *c)
{
    if (c->state != STATE_READING || !c->has_parameters ||
        (c->shown && !c->request.whole && c->request.trouble == RESPONDER_FINE))
        return false;
    r->serving = c;
    if (c->request.whole && has_left(c)) {
        drop(r, c);
        return false;
    }
    c->request.environment = c->environment;
    c->request.body = !c->body.data ? "" : c->body.data;
    c->request.body_length = c->body.length;
    return true;
}

/* What is over time: closed, or shown once more to be answered. True: r->serving is set. */
static bool look_at_clock(struct responder *r, struct connection *c, int64_t now)
{
    if (c->until_us == 0 || now < c->until_us)
        return false;
    if (c->state == STATE_LATER) {
        c->state = STATE_READING;
        c->until_us = 0;
        return ready(r, c);
    }
    if (c->state == STATE_READING && c->has_parameters) {
        c->request.trouble = RESPONDER_LATE;
        return ready(r, c);
    }
    drop(r, c);
    return false;
}

/* Something has happened on a connection. True: r->serving is set. */
static bool look_at(struct responder *r, struct connection *c)
{
    if (c->state == STATE_SENDING) {
        send_out(r, c);
        return false;
    }
    if (c->state == STATE_LATER || !receive(r, c)) { /* nobody waits for that answer any more */
        drop(r, c);
        return false;
    }
    return ready(r, c);
}

/* Fills r->polled: the connections in their order, then the listener. The milliseconds until the first is over time. */
static int prepare(struct responder *r, int64_t now, bool stopping)
{
    int64_t first = now + (stopping ? 100000 : INT64_C(3600000000));

    for (size_t i = 0; i < r->n; i++) {
        const struct connection *c = r->connections[i];

        r->polled[i] = (struct pollfd){.fd = c->fd, .events = POLLIN};
        if (c->state == STATE_SENDING)
            r->polled[i].events = POLLOUT;
        else if (c->state == STATE_LATER)
            r->polled[i].events = 0; /* its end is told all the same */
        if (c->until_us != 0 && c->until_us < first)
            first = c->until_us;
    }
    r->polled[r->n] = (struct pollfd){.fd = stopping ? -1 : r->listener, .events = POLLIN};
    return first <= now ? 0 : (int)((first - now) / 1000 + 1);
}

/* When stopping: closes what is idle, and tells whether nothing is left to wait for. */
static bool stopped(struct responder *r)
{
    int64_t now = clock_mono_us();

    if (r->stop_us == 0)
        r->stop_us = now;
    for (size_t i = r->n; i-- > 0;) {
        struct connection *c = r->connections[i];

        if (c->state == STATE_IDLE && (c->kept || now - c->since_us > SILENT_US))
            drop(r, c);
    }
    return r->n == 0 || now - r->stop_us > STOP_US;
}

/* One round of waiting and looking. True: r->serving is set. */
static bool look_around(struct responder *r, bool stopping)
{
    int timeout = prepare(r, clock_mono_us(), stopping);
    struct connection *looked[CONNECTIONS], *c;
    size_t n = r->n, start = n == 0 ? 0 : r->next++ % n;
    int64_t now;

    if (poll(r->polled, n + 1, timeout) < 0 && errno != EINTR) {
        log_error("can't wait for connections: %s", strerror(errno));
        return false;
    }
    now = clock_mono_us();
    memcpy(looked, r->connections, n * sizeof(struct connection *));
    for (size_t i = 0; i < n; i++) {
        size_t at = (start + i) % n;

        if (r->polled[at].revents != 0 ? look_at(r, looked[at]) : look_at_clock(r, looked[at], now))
            return true;
    }
    if (r->polled[n].revents == 0 || prefork_stopping())
        return false;
    c = accept_one(r);
    return c && look_at(r, c);
}

const struct responder_request *responder_next(struct responder *r)
{
    for (;;) {
        bool stopping = prefork_stopping();

        if (stopping && stopped(r))
            return NULL;
        if (look_around(r, stopping))
            return &r->serving->request;
    }
}
