/*
 * standing: where a tenant stands with one limit, and what the gate answers to its next call. Pure, as limit.h, on which it leans.
 *
 * The gate decides by limit_decide and limit_reason_of_state; whatever shows a limit (check, report, pages, lists, the command line) asks
 * standing_of, which asks the same two. So no page says "exceeded" where calls pass, and none is silent where every call is refused.
 */
#ifndef METER_STANDING_H
#define METER_STANDING_H

#include "lib/meter/limit.h"

#define STANDING_NEAR_PERCENT 80 /* above it a limit is near */

enum standing_kind {
    STANDING_WITHIN,
    STANDING_NEAR,      /* above STANDING_NEAR_PERCENT, and not beyond the limit */
    STANDING_SOFT_OVER, /* beyond it, and not refused: the limit is soft */
    STANDING_GRACE,     /* beyond it, and not refused yet: up to a percentage, or until a date */
    STANDING_REFUSED,
};

/* What is known beside the limit itself. */
struct standing_of {
    enum limit_state tenant;
    bool gauge;
    bool unenforced; /* a gauge that Tollgate counts and whose new rows nothing refuses */
    int64_t credits; /* of the limit: what was granted beside the plan, millionths */
};

struct standing {
    enum standing_kind kind;
    enum limit_reason reason; /* LIMIT_ADMITTED, or why the next call is refused */
    int status;               /* of the gate's answer to it: 200, 402, 403 or 429 */
    struct limit_verdict verdict;
    double percent; /* of the limit */
    struct standing_of of;
};

/* A limit of the catalogue and what is used of it; of a metric without limits one row, with no key. */
struct standing_limit {
    char key[101], metric[101],
        window[8]; /* none, minute, hour, day, week, period; key: "" when nothing limits the metric */
    char label[101], unit[64];
    int32_t end_offset_s; /* the tenant's zone where the window ends */
    bool known;           /* false of a minute: the database does not know what is used, and `at` is that of nothing */
    struct standing at;
};

/* What the next call takes: one unit of a counter; of a gauge it asks whether there is room. */
int64_t standing_amount(bool gauge);
/* `verdict`: of that amount. */
void standing_from(const struct standing_of *of, const struct limit_verdict *verdict, struct standing *out);
/* The same, decided here. */
void standing_of(const struct standing_of *of, const struct limit *l, const struct limit_count *c, int64_t now_us,
                 struct standing *out);
/* Which of two is worse, for what shows one of many: refused, then grace, soft, near, within; of equals the one with more percent. */
bool standing_is_worse(const struct standing *a, const struct standing *b);

/* "within", "near", "soft_over", "grace", "refused": `state` of the JSON API. */
const char *standing_code(enum standing_kind kind);
/* "hard", "soft", "grace": `mode` of the JSON API. */
const char *standing_mode(enum limit_mode mode);
/* Of a tenant whose calls are all refused, a sentence that says so; NULL: its limits decide. */
const char *standing_of_tenant(enum limit_state tenant);

#define STANDING_WORDS_SIZE 256
/* A few words: "Within the limit", "Approaching", "Reached", "Exceeded", "Unlimited", … Never NULL. */
const char *standing_word(const struct standing *s);
/* What happens to the next call, as a sentence without its full stop; "" when there is nothing to say. Returns `out`. */
const char *standing_words(const struct standing *s, char out[STANDING_WORDS_SIZE]);

#endif
