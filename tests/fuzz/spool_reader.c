/*
 * spool_reader.c: any bytes as a segment, read in one go and from a place in it.
 *
 * The reader must find the very records that a search over the whole file finds, report every other byte once, and come to
 * the end. The first byte of the input tells what the file gets: 1 a sound header, 2 checksums, 28 so many records before the
 * rest that the end of the reader's window falls into it, 252 so many zeros (a search through them is slow); the second how
 * many words into it that is, and where to go on.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/base/io.h"
#include "lib/meter/spool/segment.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/seal.h"

#define NUMBER UINT64_C(0x00064cb1f0a5b123)
#define HAS_HEADER 1
#define HAS_CHECKSUMS 2
#define AT_WINDOWS_END (4 | 8 | 16) /* all three, so that most files are short */
#define OF_ZEROS (32 | 64 | 128)    /* all three: seldom */
#define LEAD_RECORD_BYTES (64u << 10)
#define WINDOW_BYTES (256u << 10) /* as in lib/meter/spool/reader.c */

static char dir[] = "/dev/shm/tollgate-fuzz-XXXXXX", path[64];
static struct spool_segment segment = {
    .number = NUMBER, .made_us = 1, .pid = 1, .kind = SPOOL_GATE, .node = "sixteen bytes..."};

static void leave(void)
{
    unlink(path);
    rmdir(dir);
}

static void prepare(void)
{
    if (path[0])
        return;
    must(mkdtemp(dir) != NULL);
    snprintf(path, sizeof path, "%s/%016llx.seg", dir, (unsigned long long)NUMBER);
    atexit(leave);
}

/* Sound records, `length` bytes of them (a multiple of 8), at this place of the file. */
static void write_lead(unsigned char *file, size_t at, size_t length)
{
    while (length > 0) {
        size_t n = length < LEAD_RECORD_BYTES ? length : LEAD_RECORD_BYTES, metadata = n - EVENT_FIXED_BYTES - 2;
        unsigned char *r = file + at;
        memcpy(r, "TGR1", 4);
        for (int i = 0; i < 4; i++) {
            r[4 + i] = (unsigned char)(n >> 8 * i);
            r[56 + i] = (unsigned char)(metadata >> 8 * i);
        }
        r[48] = r[50] = 1; /* tenant "t", metric "m" */
        r[64] = 't';
        r[65] = 'm';
        seal(r, n, spool_seed(segment.node, NUMBER) + at);
        at += n;
        length -= n;
    }
}

static void write_file(unsigned char *bytes, size_t size, unsigned char what)
{
    if ((what & HAS_HEADER) && size >= SPOOL_HEADER_BYTES)
        spool_segment_encode(bytes, &segment);
    for (size_t at = SPOOL_HEADER_BYTES; (what & HAS_CHECKSUMS) && at < size;) {
        size_t n = seal_length(bytes + at, size - at);
        if (n)
            seal(bytes + at, n, spool_seed(segment.node, NUMBER) + at);
        at += n ? n : 8;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    must(fd >= 0 && io_write_all(fd, bytes, size) == STATUS_OK);
    close(fd);
}

/* Where the next record begins, from `at` on, and what it is; the file's size when there is none. */
static size_t search(const unsigned char *bytes, size_t size, size_t at, struct event *e)
{
    size_t length;
    while (at < size &&
           event_decode(bytes + at, size - at, spool_seed(segment.node, NUMBER) + at, e, &length) != STATUS_OK)
        at += 8;
    return at < size ? at : size;
}

/* Reads from `from` to the end and compares with a search. */
static void read_from(const unsigned char *bytes, size_t size, uint64_t from)
{
    struct spool_damage d;
    struct spool_reader *r;
    struct event e, found;
    uint64_t at = from, next = from,
             whole_to = 0; /* up to here the records that were appended together are all there */
    bool final = false;
    enum status s = spool_reader_open(dir, NUMBER, from, segment.node, &r);
    must(s == STATUS_OK || s == STATUS_VERSION);
    if (s != STATUS_OK)
        return;
    while ((s = spool_read(r, &e, &next, &d, &final)) != STATUS_END) {
        size_t record = search(bytes, size, at, &found);
        uint64_t together = record == at ? at + event_size(&found) + found.following : 0;
        bool first = record == at && found.following && at >= whole_to;
        must(next > at && next <= size);
        if (first && together > size) {
            must(s == STATUS_DAMAGED && d.from == at && d.to == size && next == size && d.torn_tail);
        } else if (record == at) {
            must(s == STATUS_OK && next == at + event_size(&found) && event_size(&e) == event_size(&found));
            whole_to = first ? together : whole_to;
        } else {
            must(s == STATUS_DAMAGED && d.from == at && d.to == next && next <= record);
            must(!d.torn_tail || next == size);
        }
        at = next;
    }
    must(final && (at == size || from >= size));
    spool_reader_close(r);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    if (size < 2)
        return 0;
    unsigned char what = data[0];
    size_t words = (size_t)data[1] * 8, head, lead;
    bool zeros = (what & OF_ZEROS) == OF_ZEROS;
    size -= 2;
    head = size < SPOOL_HEADER_BYTES ? size : SPOOL_HEADER_BYTES;
    lead = (what & AT_WINDOWS_END) == AT_WINDOWS_END && size > SPOOL_HEADER_BYTES ? WINDOW_BYTES - words : 0;
    unsigned char *bytes = calloc(1, size + lead + 1);
    must(bytes != NULL);
    prepare();
    memcpy(bytes, data + 2, head);
    if (!zeros)
        write_lead(bytes, head, lead);
    memcpy(bytes + head + lead, data + 2 + head, size - head);
    write_file(bytes, size + lead, what);
    read_from(bytes, size + lead, SPOOL_HEADER_BYTES);
    read_from(bytes, size + lead, SPOOL_HEADER_BYTES + (zeros ? 0 : lead) + words);
    free(bytes);
    return 0;
}
