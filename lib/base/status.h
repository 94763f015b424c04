/*
 * status: what every fallible function of Tollgate returns, and the attributes of its contracts.
 *
 * Results go through out-parameters; a function that returns `enum status` leaves them untouched
 * unless it returns STATUS_OK. Owns nothing. Called by every program.
 */
#ifndef BASE_STATUS_H
#define BASE_STATUS_H

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

enum status {
    STATUS_OK = 0,
    STATUS_INVALID,     /* what the caller or a client sent is wrong */
    STATUS_NOT_FOUND,   /* no such key, tenant, file, row */
    STATUS_EXISTS,      /* it is there already */
    STATUS_DENIED,      /* not allowed */
    STATUS_LIMIT,       /* a limit is reached, or a fixed table is full */
    STATUS_NO_MEMORY,   /* malloc failed */
    STATUS_NO_SPACE,    /* the disk is full or a quota is reached */
    STATUS_IO,          /* another system call failed; errno tells */
    STATUS_DAMAGED,     /* stored bytes do not match their checksum or bounds */
    STATUS_VERSION,     /* written by another version than this program reads */
    STATUS_UNAVAILABLE, /* the database, or a table that another process makes, can't be reached */
    STATUS_TIMEOUT,     /* the database ended a statement that took too long; nothing of it stands */
    STATUS_FENCED,      /* another process has taken this one's place: it must not write any more */
    STATUS_FAILED, /* the database could not carry a statement out, and not because of a value; its message says why */
    STATUS_CONFLICT, /* another process holds it, or the row has changed meanwhile */
    STATUS_END,      /* nothing left to read for now */
    STATUS_COUNT
};

/* A short English text, static, never NULL, "unknown status" for a value out of range. */
const char *status_text(enum status s);
#define PROBLEM_SIZE 512
/* Writes what is wrong, for whoever can correct it, and gives `s` back. */
enum status status_say(enum status s, char problem[PROBLEM_SIZE], const char *format, ...) PRINTF_LIKE(3, 4);

#endif
