/* standing.c: where a tenant stands with a limit, in a code, in a word and in a sentence */
#include "lib/meter/standing.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/decimal.h"

static enum standing_kind kind_of(const struct standing *s)
{
    const struct limit_verdict *v = &s->verdict;
    if (s->reason != LIMIT_ADMITTED)
        return STANDING_REFUSED;
    if (v->unlimited)
        return STANDING_WITHIN;
    if (v->used > v->limit)
        return v->mode == LIMIT_SOFT ? STANDING_SOFT_OVER : STANDING_GRACE;
    return s->percent > STANDING_NEAR_PERCENT ? STANDING_NEAR : STANDING_WITHIN;
}

int64_t standing_amount(bool gauge)
{
    return gauge ? 0 : EVENT_MILLION;
}

void standing_from(const struct standing_of *of, const struct limit_verdict *verdict, struct standing *out)
{
    enum limit_reason reason = limit_reason_of_state(of->tenant);
    if (reason == LIMIT_ADMITTED && !verdict->allowed)
        reason = LIMIT_REACHED;
    struct standing s = {.reason = reason,
                         .status = limit_reason_status(reason),
                         .verdict = *verdict,
                         .percent = limit_percent(verdict->used, verdict->limit),
                         .of = *of};
    s.kind = kind_of(&s);
    *out = s;
}

void standing_of(const struct standing_of *of, const struct limit *l, const struct limit_count *c, int64_t now_us,
                 struct standing *out)
{
    struct limit_verdict v;
    limit_decide(l, c, standing_amount(of->gauge), now_us, &v);
    standing_from(of, &v, out);
}

bool standing_is_worse(const struct standing *a, const struct standing *b)
{
    return a->kind != b->kind ? a->kind > b->kind : a->percent > b->percent;
}

const char *standing_code(enum standing_kind kind)
{
    static const char *const codes[] = {"within", "near", "soft_over", "grace", "refused"};
    return codes[kind];
}

const char *standing_mode(enum limit_mode mode)
{
    return mode == LIMIT_SOFT ? "soft" : mode == LIMIT_GRACE ? "grace" : "hard";
}

static const char *sentence_of_reason(enum limit_reason reason)
{
    switch (reason) {
    case LIMIT_NO_SUBSCRIPTION:
        return "Every call is refused until a plan is set";
    case LIMIT_SUSPENDED:
        return "Every call is refused until the tenant is resumed";
    default:
        return NULL;
    }
}

const char *standing_of_tenant(enum limit_state tenant)
{
    return sentence_of_reason(limit_reason_of_state(tenant));
}

const char *standing_word(const struct standing *s)
{
    if (s->reason == LIMIT_NO_SUBSCRIPTION || s->reason == LIMIT_SUSPENDED)
        return "Refused";
    if (s->verdict.unlimited)
        return "Unlimited";
    if (s->verdict.limit == 0 && s->verdict.used == 0 && s->kind == STANDING_REFUSED)
        return "Not included";
    if (s->verdict.used > s->verdict.limit)
        return s->kind == STANDING_REFUSED ? "Exceeded"
               : s->kind == STANDING_GRACE ? "In its grace"
                                           : "Above, not refused";
    if (s->kind == STANDING_REFUSED || s->verdict.used == s->verdict.limit)
        return "Reached";
    return s->kind == STANDING_NEAR ? "Approaching" : "Within the limit";
}

/* "2026-12-01 00:00 UTC" */
static const char *instant(int64_t us, char out[CLOCK_RFC3339_SIZE])
{
    clock_rfc3339(out, us, 0, 0);
    out[10] = ' ';
    snprintf(out + 16, CLOCK_RFC3339_SIZE - 16, " UTC");
    return out;
}

/* Beyond the limit or at it, and refused. */
static void say_refused(const struct standing *s, char out[STANDING_WORDS_SIZE])
{
    if (s->verdict.limit == 0)
        snprintf(out, STANDING_WORDS_SIZE, "Refused: the plan has none of it");
    else if (s->of.unenforced)
        snprintf(out, STANDING_WORDS_SIZE,
                 "Checks refuse more; new rows are not refused, because the limit is not enforced");
    else if (s->of.gauge)
        snprintf(out, STANDING_WORDS_SIZE, "More is refused until there is room");
    else
        snprintf(out, STANDING_WORDS_SIZE, "Calls are refused until the limit resets");
}

static void say_grace(const struct standing *s, char out[STANDING_WORDS_SIZE])
{
    char until[CLOCK_RFC3339_SIZE], most[DECIMAL_SIZE];
    if (s->verdict.grace_until_us)
        snprintf(out, STANDING_WORDS_SIZE, "Not refused until %s", instant(s->verdict.grace_until_us, until));
    else
        snprintf(out, STANDING_WORDS_SIZE, "Not refused up to %s", decimal_grouped(s->verdict.ceiling, 6, ",", most));
}

const char *standing_words(const struct standing *s, char out[STANDING_WORDS_SIZE])
{
    const char *all = sentence_of_reason(s->reason);
    out[0] = '\0';
    if (all)
        snprintf(out, STANDING_WORDS_SIZE, "%s", all);
    else if (s->kind == STANDING_REFUSED)
        say_refused(s, out);
    else if (s->verdict.unlimited || s->verdict.used < s->verdict.limit)
        return out;
    else if (s->verdict.mode == LIMIT_SOFT)
        snprintf(out, STANDING_WORDS_SIZE, "Not refused: the limit is soft");
    else if (s->verdict.mode == LIMIT_GRACE)
        say_grace(s, out);
    return out;
}
