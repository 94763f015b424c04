/* schema: the whole schema in a server of the test's own, and who connects to it. For the tests of this folder. */
#ifndef UNIT_STORE_SCHEMA_H
#define UNIT_STORE_SCHEMA_H

#include "lib/store/db.h"
#include "lib/store/migrate.h"
#include "tests/unit/store/server.h"

/* Starts, migrates; *owner is connected, `collector` (256 bytes) says how the collector connects. */
static inline bool schema_start(const char *name, struct db **owner, char collector[256])
{
    struct migrate_options m = {.sql_dir = "sql", .host = MIGRATE_HOST_NEW};
    char command[512], conninfo[256], problem[512] = "";

    if (!server_start(name))
        return false;
    snprintf(command, sizeof(command),
             "psql -qX -h %s -U postgres -f sql/roles.sql postgres && createdb -h %s -U postgres -O tollgate_owner tg",
             server_dir, server_dir);
    snprintf(conninfo, sizeof(conninfo), "host=%s user=tollgate_owner dbname=tg", server_dir);
    snprintf(collector, 256, "host=%s user=tollgate_collector dbname=tg", server_dir);
    if (system(command) != 0 || db_open(conninfo, "test", owner) != STATUS_OK)
        return false;
    if (migrate_run(*owner, &m, problem) == STATUS_OK)
        return true;
    fprintf(stderr, "%s: %s\n", name, problem);
    return false;
}

#endif
