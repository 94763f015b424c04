/*
 * spool_write.c: fills a spool with calls, for benchmarks: spool_write SPOOL_DIR EVENTS TENANTS [SEGMENTS]
 *
 * The events are a gate's: api_call of f0, f1, … in turn, with a gate's metadata, in as many segments as a node has gates.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/base/clock.h"
#include "lib/meter/spool/spool.h"

#define SEGMENTS_MOST 32
#define SEGMENT_BYTES (256u << 20)

static const char *const places[] = {"/api/patients/:id",      "/api/patients", "/api/appointments",
                                     "/api/appointments/:id",  "/api/files",    "/api/users",
                                     "/api/reports/:id/lines", "/api/search"};
static const char *const methods[] = {"GET", "POST", "PUT"};

static enum status append(struct spool_writer *w, long i, long tenants)
{
    char tenant[32], metadata[512], when[40];
    const char *place = places[i / tenants % 8], *method = methods[i / 7 % 3];
    int64_t now = clock_wall_us();
    time_t seconds = (time_t)(now / CLOCK_US_PER_SECOND);
    struct tm tm;

    gmtime_r(&seconds, &tm);
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
    int n = snprintf(metadata, sizeof(metadata),
                     "{\"endpoint\":\"%s?\",\"method\":\"%s\",\"timestamp\":\"%s.%06dZ\",\"normalized\":\"%s\","
                     "\"key\":\"key%05ld\"}",
                     place, method, when, (int)(now % CLOCK_US_PER_SECOND), place, i % tenants);
    int m = snprintf(tenant, sizeof(tenant), "f%ld", i % tenants);
    struct event e = {.tenant = {tenant, (size_t)m},
                      .metric = {"api_call", 8},
                      .metadata = {metadata, (size_t)n},
                      .value = EVENT_MILLION};
    return spool_append(w, &e, 1, false);
}

int main(int argc, char *argv[])
{
    struct spool_writer *writers[SEGMENTS_MOST] = {NULL};
    struct spool_node node;
    enum status s;

    if (argc < 4) {
        fputs("usage: spool_write SPOOL_DIR EVENTS TENANTS [SEGMENTS]\n", stderr);
        return 2;
    }
    long events = atol(argv[2]), tenants = atol(argv[3]), segments = argc > 4 ? atol(argv[4]) : 4;
    struct spool_options o = {.dir = argv[1],
                              .kind = SPOOL_GATE,
                              .sync = SPOOL_SYNC_NEVER,
                              .segment_bytes = SEGMENT_BYTES,
                              .segment_age_us = 3600 * CLOCK_US_PER_SECOND};
    if (events < 1 || tenants < 1 || segments < 1 || segments > SEGMENTS_MOST)
        return 2;
    s = spool_node_load(argv[1], true, &node);
    for (long i = 0; i < segments && s == STATUS_OK; i++)
        s = spool_writer_open(&o, &writers[i]);
    for (long i = 0; i < events && s == STATUS_OK; i++)
        s = append(writers[i % segments], i, tenants);
    for (long i = 0; i < segments; i++)
        spool_writer_close(writers[i]);
    if (s != STATUS_OK)
        fprintf(stderr, "spool_write: %s\n", status_text(s));
    return s == STATUS_OK ? 0 : 1;
}
