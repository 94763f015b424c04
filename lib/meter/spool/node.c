/* node.c: who this node is, `<spool>/node` */
#include "lib/meter/spool/spool.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>
#include <xxhash.h>

#include "lib/base/io.h"

#define NODE_FILE_MAX 256
#define STARTS_MOST 4096
#define TOKEN_BYTES 16

/* "node <uuid>\ntoken <32 hexadecimal digits>\n" */
static enum status parse(const char *text, struct spool_node *node)
{
    char uuid[37], token[33], hex[33];
    size_t n = 0, bytes;
    if (sscanf(text, "node %36[0-9a-f-]\ntoken %32[0-9a-f]\n", uuid, token) != 2)
        return STATUS_DAMAGED;
    for (const char *p = uuid; *p && n < 32; p++)
        if (*p != '-')
            hex[n++] = *p;
    hex[n] = '\0';
    if (sodium_hex2bin(node->uuid, 16, hex, n, NULL, &bytes, NULL) != 0 || bytes != 16 ||
        sodium_hex2bin(node->token, 16, token, strlen(token), NULL, &bytes, NULL) != 0 || bytes != 16)
        return STATUS_DAMAGED;
    return STATUS_OK;
}

void spool_node_text(const struct spool_node *node, char out[SPOOL_NODE_TEXT])
{
    const unsigned char *u = node->uuid;
    snprintf(out, SPOOL_NODE_TEXT, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1],
             u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]);
}

enum status spool_node_store(const char *dir, const struct spool_node *node)
{
    char path[PATH_MAX], uuid[SPOOL_NODE_TEXT], token[33], text[NODE_FILE_MAX];
    enum status s = io_path(path, sizeof(path), dir, "node");
    if (s != STATUS_OK)
        return s;
    spool_node_text(node, uuid);
    sodium_bin2hex(token, sizeof(token), node->token, sizeof(node->token));
    int n = snprintf(text, sizeof(text), "node %s\ntoken %s\n", uuid, token);
    return io_replace_file(path, text, (size_t)n, 0600);
}

static enum status make_node(const char *dir, struct spool_node *node)
{
    randombytes_buf(node->uuid, sizeof(node->uuid));
    randombytes_buf(node->token, sizeof(node->token));
    node->uuid[6] = (unsigned char)((node->uuid[6] & 0x0f) | 0x40); /* RFC 9562, version 4 */
    node->uuid[8] = (unsigned char)((node->uuid[8] & 0x3f) | 0x80);
    return spool_node_store(dir, node);
}

enum status spool_node_load(const char *dir, bool make, struct spool_node *node)
{
    char path[PATH_MAX], *text = NULL;
    size_t length;
    enum status s = make ? io_make_dir(dir, 0700) : STATUS_OK;
    if (s == STATUS_OK)
        s = io_path(path, sizeof(path), dir, "node");
    if (s != STATUS_OK)
        return s;
    s = io_read_file(path, NODE_FILE_MAX, &text, &length);
    if (s == STATUS_OK)
        s = parse(text, node);
    else if (s == STATUS_NOT_FOUND && make)
        s = make_node(dir, node);
    free(text);
    return s;
}

enum status spool_starts(const char *dir, unsigned char **out, size_t *n)
{
    char path[PATH_MAX], *bytes = NULL;
    size_t length = 0;
    enum status s = io_path(path, sizeof(path), dir, "starts");
    if (s == STATUS_OK)
        s = io_read_file(path, (size_t)TOKEN_BYTES * STARTS_MOST, &bytes, &length);
    if (s == STATUS_NOT_FOUND && (bytes = calloc(1, 1)))
        s = STATUS_OK;
    if (s != STATUS_OK) {
        free(bytes);
        return s;
    }
    *out = (unsigned char *)bytes;
    *n = length / TOKEN_BYTES;
    return STATUS_OK;
}

enum status spool_starts_add(const char *dir, const unsigned char token[16])
{
    char path[PATH_MAX];
    unsigned char *had = NULL, *grown = NULL;
    size_t n;
    enum status s = io_path(path, sizeof(path), dir, "starts");
    if (s == STATUS_OK && (s = spool_starts(dir, &had, &n)) == STATUS_OK) {
        size_t skip = n >= STARTS_MOST ? n - STARTS_MOST + 1 : 0;
        if (n > 0 && memcmp(had + (n - 1) * TOKEN_BYTES, token, TOKEN_BYTES) == 0)
            goto out;
        s = STATUS_NO_MEMORY;
        if (!(grown = malloc((n - skip + 1) * TOKEN_BYTES)))
            goto out;
        memcpy(grown, had + skip * TOKEN_BYTES, (n - skip) * TOKEN_BYTES);
        memcpy(grown + (n - skip) * TOKEN_BYTES, token, TOKEN_BYTES);
        s = io_replace_file(path, grown, (n - skip + 1) * TOKEN_BYTES, 0600);
    }
out:
    free(had);
    free(grown);
    return s;
}

uint64_t spool_seed(const unsigned char uuid[16], uint64_t number)
{
    return XXH3_64bits_withSeed(uuid, 16, number);
}
